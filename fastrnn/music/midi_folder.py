"""Folders of MIDI files: what is sound is read, what is not is reported, skipped and counted."""

from __future__ import annotations

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

    A file in a folder that cannot be read is skipped, and ``report`` is called with the line that says why; a file that is
    itself in ``paths`` must be sound. A file that comes again, by whatever path, is read once. ``options`` are those of
    :func:`fastrnn.music.midi.read_midi`. Raises MidiError for a folder without MIDI files or without one that can be read,
    and as ``read_midi`` does for a file.
    """
    library()
    pieces: dict[str, tuple[Path, Piece]] = {}  # by the path without links
    skipped: dict[str, tuple[Path, str]] = {}
    for path in map(Path, paths):
        is_folder = path.is_dir()
        files = {realpath(file): file for file in (midi_files(path) if is_folder else [path])}
        for place, file in files.items():
            if place in pieces or (is_folder and place in skipped):
                continue
            try:
                pieces[place] = file, read_midi(file, **options)
            except (MidiError, OSError) as error:
                if not is_folder:
                    raise
                skipped[place] = file, _line(error)
                if report:
                    report(f"skipped: {_line(error)}")
        if not pieces.keys() & files.keys():
            raise MidiError(f"{path} has no MIDI file that can be read: {len(files)} skipped")
    return Collection(tuple(pieces.values()), tuple(skipped.values()))


def midi_files(folder: Path) -> list[Path]:
    """The MIDI files in a folder and below, sorted by path. Raises MidiError where there is none."""
    found = sorted(file for file in folder.rglob("*") if file.suffix.casefold() in SUFFIXES and file.is_file())
    if not found:
        raise MidiError(f"{folder} is a folder without {' or '.join(SUFFIXES)} files")
    return found


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
