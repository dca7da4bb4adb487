"""Folders of MIDI files: what is sound is read, what is not is reported, skipped and counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from typing import Any

from .midi import MidiError, library, read_midi
from .piece import Piece

SUFFIXES = (".mid", ".midi")


@dataclass(frozen=True)
class Collection:
    """The pieces that were read, each with its file, and the files that were not, each with the reason in one line."""

    pieces: tuple[tuple[Path, Piece], ...]
    skipped: tuple[tuple[Path, str], ...]


def read_collection(
    paths: Iterable[str | Path], *, report: Callable[[str], None] | None = None, **options: Any
) -> Collection:
    """The pieces of files and folders; a folder stands for all MIDI files in it and below, in the order of their paths.

    A file or a folder in a folder that cannot be read is skipped, and ``report`` is called with the line that says why; what
    is itself in ``paths`` must be sound. A file that comes again, by whatever path, is read once. ``options`` are those of
    :func:`fastrnn.music.midi.read_midi`. Raises MidiError for a folder without MIDI files or without one that can be read,
    OSError for one that cannot be listed, and as ``read_midi`` does for a file.
    """
    library()
    pieces: dict[str, tuple[Path, Piece]] = {}  # by the path without links
    skipped: dict[str, tuple[Path, str]] = {}

    def skip(file: Path, error: Exception) -> None:
        if realpath(file) not in skipped:
            skipped[realpath(file)] = file, _line(error)
            if report:
                report(f"skipped: {_line(error)}")

    for path in map(Path, paths):
        is_folder = path.is_dir()
        found, faults = midi_files(path) if is_folder else ([path], {})
        for folder, fault in faults.items():
            skip(folder, fault)
        files = {realpath(file): file for file in found}
        for place, file in files.items():
            if place in pieces or (is_folder and place in skipped):
                continue
            try:
                pieces[place] = file, read_midi(file, **options)
            except (MidiError, OSError) as error:
                if not is_folder:
                    raise
                skip(file, error)
        if not pieces.keys() & files.keys():
            raise MidiError(f"{path} has no MIDI file that can be read: {len(files)} skipped")
    return Collection(tuple(pieces.values()), tuple(skipped.values()))


def midi_files(folder: Path) -> tuple[list[Path], dict[Path, OSError]]:
    """What in a folder and below is called as MIDI files are, sorted by path; and the folders that cannot be listed.

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
