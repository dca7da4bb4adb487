"""Folder of a run of any kind: its lock, its files and its configuration."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ... import backends
from ..._core.checks import describe
from ..._core.drawing_limit import TooManyValues, limited_to
from ..._core.version import __version__
from ...backends.structs import CellSpec, StackSpec
from ...json_reading import parse
from ...layers._recurrent.base import Recurrent
from ...layers.base import Layer
from ...serialization import remove_leftovers, write_atomically
from .. import checkpoint
from ..loop import BEST, LAST, METRICS

CONFIG, SAMPLES, CURVE, LINES, PIECES = "config.json", "samples.txt", "loss.png", "lines.safetensors", "pieces.json"
SONGS = "songs.safetensors"  # replaces PIECES, which only older versions wrote
FILES = (CONFIG, LAST, BEST, METRICS, SAMPLES, CURVE, LINES, PIECES, SONGS)  # the files of runs of all kinds
VERSION = 1

# ISAs whose results have the bits of another.
ROUNDS_AS = {"amx": "avx512", "avx512bf16": "avx512", "avx512vnni": "avx512", "neondot": "neon"}

Weighted = TypeVar("Weighted", bound=Layer)


class RunError(ValueError):
    """Error for a run folder that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """Backend, instruction set and precision of a run; others round sums differently."""

    backend: str
    isa: str
    precision: str = "highest"

    @classmethod
    def of(cls, recurrent: Recurrent, B: int) -> Kernels:
        """Return the kernels that a model with this layer would run on now for batches of B sequences.

        If the layer itself is too small for another precision, the precision is that of large linear layers and of Muon.
        """
        plan = recurrent.plan(1, B)[0]
        if plan.precision == "highest":
            large = StackSpec(CellSpec("rnn", 64, 64, recurrent.dtype))  # as a linear layer of 64 features
            plan = backends.current(recurrent.backend).plan(large, 1, 64)[0]
        own = plan.isa == "amx" and plan.precision != "highest"  # a matrix unit adds in another order
        return cls(plan.backend, plan.isa if own else ROUNDS_AS.get(plan.isa, plan.isa), plan.precision)

    def __str__(self) -> str:
        return f"{self.backend} ({self.isa}{'' if self.precision == 'highest' else f', {self.precision}'})"


def save_config(path: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write a configuration as JSON, atomically, with its format and the current versions. Raises OSError."""
    versions = {"fastrnn": __version__, "numpy": np.__version__, "python": platform.python_version()}
    whole = {"format": f"fastrnn-{kind}", "version": VERSION, **content, "versions": versions}
    write_atomically(path, (json.dumps(whole, indent=2, ensure_ascii=True) + "\n").encode())


def kind_of(folder: Path) -> str:
    """Return the kind of a folder's run, such as ``"chars"``. Raises RunError as :func:`load_config` does."""
    return _read(folder)[1]


def load_config(folder: Path, kinds: Mapping[str, Any], what: str) -> tuple[str, dict[str, Any]]:
    """Return the kind of a folder's run and the content of its configuration.

    Raises RunError if it is missing, damaged, of another version, or of a kind that is not in ``kinds``. The error names
    ``what`` was expected, such as "a jazz model".
    """
    content, kind = _read(folder)
    if kind not in kinds:
        raise RunError(f"{folder / CONFIG} is not the configuration of {what}")
    if content.get("version") != VERSION:
        raise RunError(
            f"{folder / CONFIG} has version {describe(content.get('version'))}, this fastrnn reads version {VERSION}"
        )
    return kind, content


def _read(folder: Path) -> tuple[dict[str, Any], str]:
    path = folder / CONFIG
    try:
        content = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder} is not a run folder: it has no {CONFIG}") from None
    format_ = str(content.get("format")) if isinstance(content, dict) else ""
    return content, format_.removeprefix("fastrnn-") if format_.startswith("fastrnn-") else ""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises RunError if it is invalid, OSError if it cannot be read."""
    with damaged(path):
        return parse(path.read_bytes())


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Turn errors about a file's content into a RunError that names the file."""
    try:
        yield
    except KeyError as error:
        raise RunError(f"{path} is damaged: it lacks {error}") from error
    except (AttributeError, IndexError, OverflowError, RecursionError, TypeError, ValueError) as error:
        fault = ": ".join(line.strip() for line in str(error).splitlines()[:2])  # a chord's error marks its place on a third
        raise RunError(f"{path} is damaged: {fault}") from error


def best_checkpoint(folder: Path) -> Path:
    """Return the path of the best weights, or of the last ones. Raises RunError if there are neither."""
    path = folder / (BEST if (folder / BEST).exists() else LAST)
    if not path.exists():
        raise RunError(f"{folder} has no checkpoint yet: neither {BEST} nor {LAST}")
    return path


def load_best(folder: Path, make_model: Callable[[], Weighted]) -> Weighted:
    """Make a model and load the best weights of a run into it. Raises RunError, CheckpointError or OSError."""
    path = best_checkpoint(folder)
    arrays = checkpoint.load(path).model
    try:
        with limited_to(arrays.values()):
            model = make_model()
    except TooManyValues as error:
        raise RunError(f"{path} does not fit {folder / CONFIG}: {error}") from error
    checkpoint.check_fits(path, arrays, model.named_parameters())
    model.load_state_dict(arrays)
    return model


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder against other trainings. Raises OSError, and RunError if another one is running in it.

    Half-written files of a killed training are removed. The operating system holds the lock, on the folder itself, and
    releases it when the process ends, however it ends.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder} is in use: another training is running in it") from None
        _remove_leftovers(folder)
        yield
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    """Remove the half-written files of a killed training. The caller must hold the lock."""
    staged = [_staged(name) for name in FILES]
    remove_leftovers(folder, [*FILES, *staged])
    for name in (*staged, _aside_name(CONFIG)):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def claimed(folder: Path, overwrite: bool = False) -> Iterator[None]:
    """Make a folder for a new run, and lock it.

    Raises OSError, and RunError if the folder is in use or :func:`require_free` refuses it.
    """
    require_free(folder, overwrite=True)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        require_free(folder, overwrite)
        yield


def require_free(folder: Path, overwrite: bool = False) -> None:
    """Raise RunError if a folder is a file, or holds files of a run and ``overwrite`` is False. It need not exist."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file, not a folder")
    found = files_of_a_run(folder)
    if found and not overwrite:
        what = f"holds a run already, or files of the same names ({', '.join(found)})"
        raise RunError(f"{folder} {what}: --resume continues a run, --overwrite replaces the files")


def files_of_a_run(folder: Path) -> list[str]:
    """Return the names of the files in a folder that a new run would replace."""
    return [name for name in FILES if (folder / name).exists()]


@contextmanager
def replacing(folder: Path, writers: Mapping[str, Callable[[Path], None]]) -> Iterator[None]:
    """Write a new run's files under temporary names, and rename them when the block ends without an error.

    Files of a previous run are then removed; after an error they are unchanged. The configuration is removed first and
    written last. A process that is killed in between leaves a folder without a configuration, which cannot be resumed, and
    never one run's configuration with another's weights. ``writers`` has a function for each file name. Raises OSError.
    """
    staged = {name: folder / _staged(name) for name in writers}
    try:
        for name, write in writers.items():
            write(staged[name])
        with _aside(folder / CONFIG):
            yield
        for name in (SAMPLES, CURVE, LINES, PIECES, SONGS):
            (folder / name).unlink(missing_ok=True)
        for name in sorted(staged, key=lambda name: name == CONFIG):
            staged[name].replace(folder / name)
    finally:
        for path in staged.values():
            path.unlink(missing_ok=True)


def _staged(name: str) -> str:
    """Return the temporary name of a new run's file."""
    return f".{name}.new"


@contextmanager
def _aside(path: Path) -> Iterator[None]:
    """Remove a file, and restore it after an error in the block. This needs no disk space."""
    aside = path.with_name(_aside_name(path.name))
    found = path.exists()
    if found:
        path.replace(aside)
    try:
        yield
    except BaseException:
        if found:
            aside.replace(path)
        raise
    aside.unlink(missing_ok=True)


def _aside_name(name: str) -> str:
    return f".{name}.old"
