"""Arrays in safetensors files, written atomically, without pickle.

A file is replaced only when the new one is complete on disk. A full disk, a Ctrl-C or a power cut leaves either the old file
or the new one.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterable, Mapping
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from ._core.arrays import Array
from ._core.checks import describe, printable
from ._core.conversion import Bfloat16, from_bfloat16
from .json_reading import parse

PathLike = str | os.PathLike[str]

TEMPORARY = ".tmp"  # the suffix of a file that is being written
_KINDS = "fiub"  # floats, signed and unsigned integers, booleans: the kinds that the format and NumPy share
_HEADER_LIMIT = 100_000_000  # bytes of the JSON header, set by the format


class FileFormatError(ValueError):
    """Error for a file that is truncated, damaged or of another format. The message names the file."""


def write_atomically(path: PathLike, data: bytes) -> None:
    """Write ``data`` to the file ``path``, completely or not at all.

    The data goes to a temporary file in the same folder, which is flushed to disk, then renamed. A symbolic link stays, and
    its target is replaced. Raises OSError with ``path`` if the folder is missing or not writable, the disk is full, or
    ``path`` is not a regular file; nothing has then changed.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        number = errno.EISDIR if path.is_dir() else errno.EINVAL
        raise OSError(number, "Not a regular file", str(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}{TEMPORARY}")
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove the temporary files that a killed process left in :func:`write_atomically` for these files of a folder.

    No other process may be writing these files. Raises OSError.
    """
    for name in names:
        for path in folder.glob(f".{escape(name)}.*{TEMPORARY}"):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush the rename to disk, if the system can open a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_arrays(path: PathLike, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays and text metadata to a safetensors file.

    Parameters
    ----------
    path
        The file to create or replace.
    arrays
        Arrays by name, of any shape and of float, integer or boolean dtype, or bfloat16 as bits.
    metadata
        Strings by name.

    Raises
    ------
    TypeError
        For a value that the format cannot hold, before anything is written.
    OSError
        As :func:`write_atomically`.
    """
    from safetensors.numpy import save

    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata must map strings to strings, got {describe(key)}: {describe(text)}")
    ready = {name: _storable(name, value) for name, value in arrays.items()}
    data = save(ready, dict(metadata) if metadata else None)
    write_atomically(path, _with_bfloat16(data, [name for name, value in arrays.items() if isinstance(value, Bfloat16)]))


def _with_bfloat16(data: bytes, names: list[str]) -> bytes:
    """Return a file in which the uint16 arrays of these names are BF16, a dtype that NumPy and so the library lack."""
    if not names:
        return data
    end = 8 + int.from_bytes(data[:8], "little")
    header = parse(data[8:end])
    for name in names:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[end:]


def _storable(name: str, value: object) -> Array:
    if not isinstance(name, str) or name == "__metadata__":
        raise TypeError(f"arrays must have strings as names, other than the format's own __metadata__, got {describe(name)}")
    if isinstance(value, Bfloat16):
        value = value.bits
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in _KINDS or value.dtype.itemsize > 8:
        raise TypeError(f"array {name!r} must be of float, integer or boolean dtype, got {describe(value)}")
    return np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C")


def load_arrays(path: PathLike) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a safetensors file and return its arrays by name, writable copies, and its metadata, possibly empty.

    BF16 arrays become float32, which represents their values exactly. Raises FileNotFoundError or another OSError if the
    file cannot be opened, :class:`FileFormatError` if it is empty, truncated, damaged, not a safetensors file, or holds a
    dtype other than BF16 that NumPy lacks.
    """
    from safetensors import SafetensorError, safe_open

    _check_header(Path(path))
    try:
        with safe_open(os.fspath(path), framework="np") as file:
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - not a mapping
            arrays = _read_bfloat16(Path(path), [name for name, dtype in dtypes.items() if dtype == "BF16"])
            for name, dtype in dtypes.items():
                if dtype != "BF16":
                    arrays[name] = _read_array(path, file, name, dtype)
            return {name: arrays[name] for name in dtypes}, dict(file.metadata() or {})
    except SafetensorError as error:
        raise FileFormatError(f"{path} is truncated or damaged: {printable(str(error))}") from error


def _read_array(path: PathLike, file: Any, name: str, dtype: str) -> Array:
    """Read one array of an open safetensors file. Raises FileFormatError for a dtype that NumPy lacks."""
    try:
        array: Array = file.get_tensor(name)
    except (TypeError, AttributeError) as error:
        hint = "convert it to F32, F16 or BF16"
        raise FileFormatError(f"{path} holds {name!r} of dtype {dtype}, which NumPy does not have: {hint}") from error
    return array


def _read_bfloat16(path: Path, names: list[str]) -> dict[str, Array]:
    """Read the BF16 arrays of a file with a valid header; the library could only do so with another package's dtype."""
    arrays: dict[str, Array] = {}
    if not names:
        return arrays
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = parse(file.read(size))
        for name in names:
            begin, end = header[name]["data_offsets"]
            file.seek(8 + size + begin)
            bits = np.frombuffer(file.read(end - begin), "<u2").astype(np.uint16)
            arrays[name] = from_bfloat16(bits).reshape(header[name]["shape"])
    return arrays


def _check_header(path: Path) -> None:
    """Raise FileFormatError if the header is invalid; unlike the library's, it distinguishes foreign and damaged files."""
    with open(path, "rb") as file:
        start = file.read(9)
        size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise FileFormatError(f"{path} is empty")
    header_size = int.from_bytes(start[:8], "little")
    if len(start) == 9 and (start[8:] != b"{" or header_size > _HEADER_LIMIT):
        raise FileFormatError(f"{path} is not a safetensors file")
    if len(start) < 9 or 8 + header_size > size:
        raise FileFormatError(f"{path} is truncated: it has {size} bytes, its header alone needs more")
