"""Reading of folders of MIDI files. Files that cannot be read are reported, skipped and counted."""

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
Reader = Callable[[Path], tuple[Read, Counter[str]]]  # what is in a file, and what was repaired in it


class FileCache(Protocol[Read]):
    """A cache of what a reader made of files before."""

    def recall(self, path: Path, /) -> tuple[Read, Counter[str]] | None:
        """Return what a reader made of a file; None if that is not known."""

    def keep(self, path: Path, reading: Read, repairs: Counter[str], /) -> None:
        """Remember what a reader made of a file."""


@dataclass(frozen=True)
class Collection(Generic[Read]):
    """The result of reading each file, and the files that could not be read, each with the reason in one line.

    ``repairs`` counts what was repaired or skipped within files, by phrases, and ``repaired`` is how many files had any.
    """

    pieces: tuple[tuple[Path, Read], ...]
    skipped: tuple[tuple[Path, str], ...]
    repairs: Counter[str]
    repaired: int


def read_collection(
    paths: Iterable[str | Path], *, report: Callable[[str], None] | None = None, **options: Any
) -> Collection[Piece]:
    """The pieces of files and folders; a folder stands for all MIDI files in it and below, in the order of their paths.

    A file or a folder in a folder that cannot be read is skipped, and ``report`` is called with the line that says why; what
    is itself in ``paths`` must be sound. A file that comes again, by whatever path, is read once. ``options`` are those of
    :func:`fastrnn.music.midi.read_midi`. Raises MidiError for a folder without MIDI files or without one that can be read,
    OSError for one that cannot be listed, and as ``read_midi`` does for a file.
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
    """Collect what ``reader`` makes of files and folders, as :func:`read_collection` does, which says what is raised.

    The reader raises MidiError or OSError for a file that cannot be read. Many files are read by ``processes``, see
    :func:`fastrnn.music._midi.processes.map_in_order`; the result does not depend on them. ``progress`` is called with the
    number of files read so far and that of all. What the ``cache`` knows is not read, and it keeps what is.
    """
    library()
    listed = [_Listed.of(Path(path)) for path in paths]
    files: dict[str, Path] = {}  # each once, by the path without links, under its first name
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
                # A file that was skipped in a folder must be sound if ``paths`` names it: read it again to raise its error.
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
    """Yield what comes of reading each file, in order."""
    known = {file: found for file in files if (found := cache.recall(file))} if cache else {}
    made = map_in_order(partial(_outcome, reader), [file for file in files if file not in known], processes)
    with closing(made):
        for file in files:
            if file in known:
                yield known.pop(file)
                continue
            outcome = next(made)
            if cache and not isinstance(outcome, Exception):
                cache.keep(file, *outcome)
            yield outcome


def _outcome(reader: Reader[Read], file: Path) -> Outcome[Read]:
    try:
        return reader(file)
    except (MidiError, OSError) as error:
        return error


@dataclass(frozen=True)
class _Listed:
    """A path that is to be read: its files by their paths without links, and its folders that cannot be listed."""

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
        """Raise MidiError where none of the files is among the pieces."""
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
    """Return the files below a folder that are named as MIDI files, sorted by path, and the folders that cannot be listed.

    Raises MidiError where there is no such file, OSError where there may be some that cannot be seen.
    """
    faults: list[OSError] = []
    walk = os.walk(folder, onerror=faults.append)
    found = sorted(Path(at, name) for at, _, names in walk for name in names if Path(name).suffix.casefold() in SUFFIXES)
    if not found and faults:
        raise faults[0]
    if not found:
        raise MidiError(f"{folder} is a folder without {' or '.join(SUFFIXES)} files")
    return found, {Path(fault.filename): fault for fault in faults}


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
