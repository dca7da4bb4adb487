"""Reading folders of MIDI files. Files that cannot be read are reported, skipped and counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from os.path import realpath
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ._midi.processes import map_in_order
from .midi import MidiError, library, read_midi_with_repairs
from .piece import Piece

SUFFIXES = (".mid", ".midi")

Read = TypeVar("Read")
Reader = Callable[[Path], tuple[Read, Counter[str]]]  # path -> result and counts of repairs


class FileCache(Protocol[Read]):
    """A cache of a reader's results."""

    def recall(self, path: Path, /) -> tuple[Read, Counter[str]] | None:
        """Return the cached result for a file; None if there is none."""

    def store(self, path: Path, reading: Read, repairs: Counter[str], /) -> None:
        """Cache the result for a file."""


@dataclass(frozen=True)
class Collection(Generic[Read]):
    """The results of reading files, and the files that could not be read, each with a reason of one line.

    ``repairs`` counts the repairs within files by phrase; ``repaired`` is the number of files that needed any.
    """

    pieces: tuple[tuple[Path, Read], ...]
    skipped: tuple[tuple[Path, str], ...]
    repairs: Counter[str]
    repaired: int


def read_collection(
    paths: Iterable[str | Path], *, report: Callable[[str], None] | None = None, **options: Any
) -> Collection[Piece]:
    """Read the pieces of files and folders; a folder stands for all MIDI files in it and below, sorted by path.

    Parameters
    ----------
    paths
        Files and folders. Files and folders named here must be readable; within a folder, unreadable ones are skipped. A
        file that is reached twice, also through links, is read once.
    report
        Called with one line for each file or folder that is skipped.
    options
        Those of :func:`fastrnn.music.midi.read_midi`.

    Raises
    ------
    MidiError
        If a folder has no readable MIDI file, or as ``read_midi`` does for a file in ``paths``.
    OSError
        If a folder in ``paths`` cannot be listed, or as ``read_midi`` does for a file in ``paths``.
    """
    return collect(paths, partial(read_midi_with_repairs, **options), report=report, processes=1)


def collect(
    paths: Iterable[str | Path],
    reader: Reader[Read],
    *,
    report: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
    cache: FileCache[Read] | None = None,
) -> Collection[Read]:
    """Call ``reader`` on each file, and collect the results as :func:`read_collection` does, with the same errors.

    Parameters
    ----------
    paths, report
        As in :func:`read_collection`.
    reader
        Raises MidiError or OSError for a file that cannot be read.
    progress
        Called with the number of files read so far and the number of all files.
    processes
        The number of processes, see :func:`fastrnn.music._midi.processes.map_in_order`. The result does not depend on it.
    cache
        Files that it has are not read again; new results are stored in it.
    """
    library()
    listed = [_Listed.of(Path(path)) for path in paths]
    files: dict[str, Path] = {}  # by the path without links: the first path that led there
    for found in listed:
        for place, file in found.files.items():
            files.setdefault(place, file)
    gathered = _Gathered[Read](report)
    tried: set[str] = set()
    with closing(_outcomes(reader, list(files.values()), processes, cache)) as outcomes:
        for found in listed:
            for folder, fault in found.faults.items():
                gathered.skip(folder, fault)
            for place, file in found.files.items():
                if place in gathered.pieces or (place in tried and found.is_folder):
                    continue
                # If ``paths`` names a file that was skipped in a folder, its error is raised: read it again.
                outcome = _outcome(reader, file) if place in tried else next(outcomes)
                tried.add(place)
                gathered.add(place, file, outcome, must_be_sound=not found.is_folder)
                if progress:
                    progress(len(tried), len(files))
            found.check(gathered.pieces)
    return gathered.collection()


Outcome = tuple[Read, Counter[str]] | MidiError | OSError


def _outcomes(
    reader: Reader[Read], files: Sequence[Path], processes: int | None, cache: FileCache[Read] | None
) -> Generator[Outcome[Read]]:
    """Yield the result or the error of each file, in order."""
    known = {file: found for file in files if (found := cache.recall(file))} if cache else {}
    made = map_in_order(partial(_outcome, reader), [file for file in files if file not in known], processes)
    with closing(made):
        for file in files:
            if file in known:
                yield known.pop(file)
                continue
            outcome = next(made)
            if cache and not isinstance(outcome, Exception):
                cache.store(file, *outcome)
            yield outcome


def _outcome(reader: Reader[Read], file: Path) -> Outcome[Read]:
    try:
        return reader(file)
    except (MidiError, OSError) as error:
        return error


@dataclass(frozen=True)
class _Listed:
    """A path to read: its files by their paths without links, and its folders that cannot be listed."""

    path: Path
    is_folder: bool
    files: dict[str, Path]
    faults: dict[Path, OSError]

    @classmethod
    def of(cls, path: Path) -> _Listed:
        """List a path. Raises MidiError or OSError as :func:`midi_files` does."""
        found, faults = midi_files(path) if path.is_dir() else ([path], {})
        return cls(path, path.is_dir(), {realpath(file): file for file in found}, faults)

    def check(self, pieces: Mapping[str, Any]) -> None:
        """Raise MidiError if none of the files is among the pieces."""
        if not pieces.keys() & self.files.keys():
            raise MidiError(f"{self.path} has no MIDI file that can be read: {len(self.files)} skipped")


class _Gathered(Generic[Read]):
    """A :class:`Collection` under construction."""

    def __init__(self, report: Callable[[str], None] | None) -> None:
        self.pieces: dict[str, tuple[Path, Read]] = {}  # by the path without links
        self._skipped: dict[str, tuple[Path, str]] = {}
        self._repairs: Counter[str] = Counter()
        self._repaired = 0
        self._report = report

    def skip(self, file: Path, error: Exception) -> None:
        place = realpath(file)
        if place not in self._skipped:
            self._skipped[place] = file, _line(error)
            if self._report:
                self._report(f"skipped: {_line(error)}")

    def add(self, place: str, file: Path, outcome: Outcome[Read], *, must_be_sound: bool) -> None:
        if isinstance(outcome, Exception):
            if must_be_sound:
                raise outcome
            self.skip(file, outcome)
            return
        piece, repairs = outcome
        self.pieces[place] = file, piece
        self._repairs.update(repairs)
        self._repaired += bool(repairs)

    def collection(self) -> Collection[Read]:
        pieces, skipped = tuple(self.pieces.values()), tuple(self._skipped.values())
        return Collection(pieces, skipped, self._repairs, self._repaired)


def midi_files(folder: Path) -> tuple[list[Path], dict[Path, OSError]]:
    """Return the MIDI files below a folder by their suffix, sorted by path, and the subfolders that cannot be listed.

    If there is no such file, raises OSError if a folder could not be listed, else MidiError.
    """
    faults: list[OSError] = []
    tree = os.walk(folder, onerror=faults.append)
    found = sorted(Path(at, name) for at, _, names in tree for name in names if Path(name).suffix.casefold() in SUFFIXES)
    if not found and faults:
        raise faults[0]
    if not found:
        raise MidiError(f"{folder} is a folder without {' or '.join(SUFFIXES)} files")
    return found, {Path(fault.filename): fault for fault in faults}


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
