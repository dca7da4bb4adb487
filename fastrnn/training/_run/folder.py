"""The folder of a run, of whatever kind: who may write to it, what it holds, its configuration file."""

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

from ..._core.checks import describe
from ..._core.version import __version__
from ...json_reading import parse
from ...layers._recurrent.base import Recurrent
from ...layers.base import Layer
from ...serialization import remove_leftovers, write_atomically
from .. import checkpoint
from ..loop import BEST, LAST, METRICS

CONFIG, SAMPLES, CURVE, LINES, PIECES = "config.json", "samples.txt", "loss.png", "lines.safetensors", "pieces.json"
SONGS = "songs.safetensors"  # in place of PIECES, which older versions wrote
FILES = (CONFIG, LAST, BEST, METRICS, SAMPLES, CURVE, LINES, PIECES, SONGS)  # what runs of all kinds may hold
VERSION = 1

Weighted = TypeVar("Weighted", bound=Layer)


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """What a run computes with: with another backend or instruction set sums are rounded differently."""

    backend: str
    isa: str

    @classmethod
    def of(cls, recurrent: Recurrent) -> Kernels:
        """Those that the layer would run on now."""
        plan = recurrent.plan(1, 1)[0]
        return cls(plan.backend, plan.isa)

    def __str__(self) -> str:
        return f"{self.backend} ({self.isa})"


def save_config(path: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write a configuration as JSON, atomically, with its format and the versions that wrote it. Raises OSError."""
    versions = {"fastrnn": __version__, "numpy": np.__version__, "python": platform.python_version()}
    whole = {"format": f"fastrnn-{kind}", "version": VERSION, **content, "versions": versions}
    write_atomically(path, (json.dumps(whole, indent=2, ensure_ascii=True) + "\n").encode())


def kind_of(folder: Path) -> str:
    """The kind of a folder's run, such as ``"chars"``. Raises RunError as :func:`load_config` does."""
    return _read(folder)[1]


def load_config(folder: Path, kinds: Mapping[str, Any], what: str) -> tuple[str, dict[str, Any]]:
    """The kind of a folder's run, one of ``kinds``, and the content of its configuration.

    Raises RunError where it is not there, damaged, of another version or not ``what`` it should be.
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
    """The content of a JSON file. Raises RunError for what is none, OSError where it cannot be read."""
    with damaged(path):
        return parse(path.read_bytes())


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file's content into a RunError that names the file."""
    try:
        yield
    except KeyError as error:
        raise RunError(f"{path} is damaged: it lacks {error}") from error
    except (AttributeError, IndexError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}") from error


def best_checkpoint(folder: Path) -> Path:
    """The file of the best weights, or of the last ones. Raises RunError where there is neither."""
    path = folder / (BEST if (folder / BEST).exists() else LAST)
    if not path.exists():
        raise RunError(f"{folder} has no checkpoint yet: neither {BEST} nor {LAST}")
    return path


def load_best(folder: Path, make_model: Callable[[], Weighted]) -> Weighted:
    """Make a model and give it the best weights of a run. Raises RunError, CheckpointError, or OSError."""
    path = best_checkpoint(folder)
    model = make_model()
    arrays = checkpoint.load(path).model
    checkpoint.check_fits(path, arrays, model.named_parameters())
    model.load_state_dict(arrays)
    return model


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a folder. Raises OSError, and RunError when another one is at work in it.

    Half-written files that a killed training left there are removed. The lock is the system's, on the folder itself: it goes
    with the process, however that ends.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder} is in use: another training is running in it") from None
        _sweep(folder)
        yield
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what a killed training left half-written. The caller holds the folder."""
    staged = [_staged(name) for name in FILES]
    remove_leftovers(folder, [*FILES, *staged])
    for name in (*staged, _aside_name(CONFIG)):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def claimed(folder: Path, overwrite: bool = False) -> Iterator[None]:
    """Make a folder for a new run, and hold it.

    Raises OSError, and RunError when it holds what would be lost, unless ``overwrite``, or when it is in use.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        found = files_of_a_run(folder)
        if found and not overwrite:
            what = f"holds a run already, or files of the same names ({', '.join(found)})"
            raise RunError(f"{folder} {what}: --resume goes on with a run, --overwrite replaces the files")
        yield


def files_of_a_run(folder: Path) -> list[str]:
    """The names of what is in a folder and would be lost to a new run."""
    return [name for name in FILES if (folder / name).exists()]


@contextmanager
def replacing(folder: Path, writers: Mapping[str, Callable[[Path], None]]) -> Iterator[None]:
    """Write a new run's files under other names, each by its writer.

    They take their names when the block ends well, and what another run left goes then; after an error all is as before.
    The configuration goes first and comes last: a process that is killed in between leaves a folder without one, which no
    run can be resumed from, and never one run's configuration beside another's weights. Raises OSError.
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
    """The name of a new run's file before it takes the place of another run's."""
    return f".{name}.new"


@contextmanager
def _aside(path: Path) -> Iterator[None]:
    """Remove a file; an error in the block brings it back, without need of space on the disk."""
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
