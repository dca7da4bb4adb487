"""Arrays to and from files: safetensors, written atomically, never pickle.

A file that is being replaced stays whole until the new one is complete on the disk: a full disk, a Ctrl-C or a power
cut leaves the old file or the new one, nothing in between.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Mapping
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core.checks import describe
from ._core.conversion import from_bfloat16
from .json_reading import parse

Array = NDArray[Any]
PathLike = str | os.PathLike[str]

TEMPORARY = ".tmp"  # how the name of a file that is being written ends
_KINDS = "fiub"  # floats, signed, unsigned, booleans: what the format and NumPy both know
_HEADER_LIMIT = 100_000_000  # the format's own limit for the JSON header, in bytes


class FileFormatError(ValueError):
    """A file that cannot be read as what it should be: truncated, damaged or foreign. The message names it."""


def write_atomically(path: PathLike, data: bytes) -> None:
    """Replace or create the file ``path`` with ``data``, all or nothing.

    Writes a temporary file in the same folder, flushes it to the disk, then renames it. A link stays, and what it points
    at is replaced. Raises OSError naming ``path`` when the folder is missing or not writable, the disk is full, or what is
    there is no regular file; it is then untouched.
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
    """Remove what :func:`write_atomically` left beside these files of a folder when its process was killed.

    Nobody else may be writing them meanwhile. Raises OSError.
    """
    for name in names:
        for path in folder.glob(f".{escape(name)}.*{TEMPORARY}"):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_arrays(path: PathLike, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays (any shape; float, integer or boolean dtype) and text metadata as one safetensors file.

    Raises TypeError for what the format cannot hold (before anything is written), OSError as :func:`write_atomically`.
    """
    from safetensors.numpy import save

    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata must map strings to strings, got {describe(key)}: {describe(text)}")
    ready = {name: _storable(name, value) for name, value in arrays.items()}
    write_atomically(path, save(ready, dict(metadata) if metadata else None))


def _storable(name: str, value: object) -> Array:
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in _KINDS or value.dtype.itemsize > 8:
        raise TypeError(f"array {name!r} must be of float, integer or boolean dtype, got {describe(value)}")
    return np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C")


def load_arrays(path: PathLike) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a safetensors file: its arrays by name (fresh and writable) and its metadata ({} when it has none).

    BF16 arrays come as float32, which has all their values. Raises FileNotFoundError (or another OSError) when the file
    cannot be opened, :class:`FileFormatError` when it is empty, truncated, damaged, not a safetensors file, or holds another
    dtype that NumPy lacks.
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
        raise FileFormatError(f"{path} is truncated or damaged: {error}") from error


def _read_array(path: PathLike, file: Any, name: str, dtype: str) -> Array:
    """Read one array of an open safetensors file. Raises FileFormatError for a dtype that NumPy lacks."""
    try:
        array: Array = file.get_tensor(name)
    except (TypeError, AttributeError) as error:
        hint = "convert it to F32, F16 or BF16"
        raise FileFormatError(f"{path} holds {name!r} of dtype {dtype}, which NumPy does not have: {hint}") from error
    return array


def _read_bfloat16(path: Path, names: list[str]) -> dict[str, Array]:
    """Read the BF16 arrays of a file whose header the library has checked: it would need a dtype of another package."""
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
    """Tell a foreign file from a damaged one, which the library's own messages do not."""
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
