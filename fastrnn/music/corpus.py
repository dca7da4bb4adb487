"""The embedded choruses, read from ``fastrnn/corpora/jazz.txt``; the head of that file describes the format.

``python -m fastrnn.music.corpus FOLDER`` writes them as MIDI files. It also converts another text in the same format.
"""

from __future__ import annotations

import errno
import re
import runpy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NoReturn

from .. import corpora
from ..console import quantity
from ._theory.composer import SEEDS, Composed, composed
from .changes import Changes, parse_changes, parse_key
from .chords import ChordError, parse_note
from .midi_writing import write_midi
from .piece import TICKS, Note, Part, Piece

MELODY = "melody"
TRUMPET = 56  # General MIDI's, from 0; all melodies lie in its range
_FIELDS = ("title", "style", "key", "tempo", "swing")
_NOTE = re.compile(r"([A-G][#b]*)(-?\d)")


class CorpusError(ValueError):
    """A text without a chorus or not in the format; the message names the line."""


@dataclass(frozen=True, slots=True)
class Tune:
    """A chorus, or a part of one: its title, style (``"blues"``, ``"ii-V-I"`` ...), key, changes, and the piece.

    The piece's notes lie straight on the grid; its ``swing`` says how they are played.
    """

    title: str
    style: str
    key: str
    changes: Changes
    piece: Piece


@cache
def tunes() -> tuple[Tune, ...]:
    """Return the embedded choruses: the written ones, then those of :mod:`fastrnn.music._theory.composer`."""
    written = read(resources.files(corpora).joinpath("jazz.txt").read_text(encoding="utf-8"))
    return (*written, *(_tune(composed(seed)) for seed in SEEDS))


def _tune(chorus: Composed) -> Tune:
    """Return a composed chorus as a tune."""
    part, changes = Part(MELODY, TRUMPET, notes=chorus.notes), chorus.changes
    piece = Piece((part,), ((0, *changes.metre),), ((0, float(chorus.tempo)),), changes.chords, changes.length, chorus.swing)
    return Tune(chorus.title, chorus.style, chorus.key, changes, piece)


def pieces() -> tuple[Piece, ...]:
    """Return the embedded choruses as pieces: one part, ``"melody"``, with its chords."""
    return tuple(tune.piece for tune in tunes())


def write_files(folder: Path, found: Sequence[Tune], *, overwrite: bool = False) -> list[Path]:
    """Write each tune to ``NN-title.mid`` in ``folder``: its melody, swung, and its chords as markers.

    Makes the folder if needed.

    Raises FileExistsError before anything is written if one of the files exists, unless ``overwrite``; NotADirectoryError
    if the folder is a file; MidiError without mido; OSError.
    """
    if folder.is_file():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder", str(folder))
    digits = len(str(len(found)))
    paths = [folder / f"{number:0{digits}}-{_plain(tune.title)}.mid" for number, tune in enumerate(found, 1)]
    there = next((path for path in paths if path.is_file()), None)
    if there is not None and not overwrite:
        raise FileExistsError(errno.EEXIST, "the file exists already", str(there))
    folder.mkdir(parents=True, exist_ok=True)
    for path, tune in zip(paths, found, strict=True):
        write_midi(path, tune.piece)
    return paths


def _plain(title: str) -> str:
    """Convert a title to part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def read(text: str) -> tuple[Tune, ...]:
    """Parse all tunes of a text. Raises CorpusError, which names the line."""
    found: list[Tune] = []
    draft = _Draft()
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        line = "" if raw.lstrip().startswith("#") else raw.strip()
        if line:
            draft.take(number, line)
        elif not raw.strip() and draft.fields:
            found.append(draft.tune(number))
            draft = _Draft()
    return tuple(found)


@dataclass
class _Draft:
    """A tune under construction, while its lines are read."""

    fields: dict[str, str] = field(default_factory=dict)
    chords: list[str] = field(default_factory=list)
    chord_lines: list[int] = field(default_factory=list)
    bars: list[tuple[int, str]] = field(default_factory=list)  # the line's number and the bar

    def take(self, number: int, line: str) -> None:
        name, colon, value = (part.strip() for part in line.partition(":"))
        if name == "chords" and colon:
            self.chords.append(value)
            self.chord_lines.append(number)
        elif name == MELODY and colon:
            self.bars += [(number, bar) for bar in value.split("|")]
        elif name in _FIELDS and colon:
            self.fields[name] = value
        else:
            _fail(number, f"expected one of {', '.join((*_FIELDS, 'chords', MELODY))} and a colon, got {line!r}")

    def tune(self, number: int) -> Tune:
        missing = [name for name in _FIELDS if name not in self.fields]
        if missing:
            _fail(number, f"the piece that ends here has no {missing[0]}")
        try:
            changes = parse_changes("\n".join(self.chords))
        except ChordError as error:
            _fail(self.chord_lines[error.text.count("\n", 0, error.position)] if self.chords else number, str(error))
        try:
            parse_key(self.fields["key"])
            tempos, swing = ((0, float(self.fields["tempo"])),), float(self.fields["swing"])
            piece = Piece(tempos=tempos, chords=changes.chords, length=changes.length, swing=swing)
        except ValueError as error:
            _fail(number, f"the piece that ends here: {error}")
        if len(changes.bars) != len(self.bars):
            chords = quantity(len(changes.bars), "bar")
            _fail(number, f"the piece that ends here has {chords} of chords and {len(self.bars)} of melody")
        piece = replace(piece, parts=(Part(MELODY, TRUMPET, notes=_notes(self.bars)),))
        return Tune(self.fields["title"], self.fields["style"], self.fields["key"], changes, piece)


def _notes(bars: list[tuple[int, str]]) -> tuple[Note, ...]:
    """Parse a melody in 4/4 from its bars, pairs (line number, text)."""
    sounding: list[list[int]] = []  # onset, duration, pitch
    held = False  # True if there is a note that `_` can hold
    for b, (number, bar) in enumerate(bars):
        beats = bar.split()
        if len(beats) != 4:
            _fail(number, f"a bar has 4 beats, {bar.strip()!r} has {len(beats)}")
        for i, beat in enumerate(beats):
            words = beat.split(".")
            if TICKS % len(words):
                _fail(number, f"a beat cannot be cut into {len(words)} parts: {beat!r}")
            step = TICKS // len(words)
            for j, word in enumerate(words):
                onset = (4 * b + i) * TICKS + j * step
                if word == "_" and held:
                    sounding[-1][1] += step
                elif word == "-":
                    held = False
                else:
                    sounding.append([onset, step, _pitch(number, word)])
                    held = True
    return tuple(Note(onset, duration, pitch) for onset, duration, pitch in sounding)


def _pitch(number: int, word: str) -> int:
    match = _NOTE.fullmatch(word)
    if not match:
        _fail(number, f"expected a note such as Eb4, _ after a note, or -, got {word!r}")
    letter, signs = match[1][0], match[1][1:]
    # The octave is the letter's: Cb5 lies below C5.
    return parse_note(letter) + signs.count("#") - signs.count("b") + 12 * (int(match[2]) + 1)


def _fail(number: int, fault: str) -> NoReturn:
    raise CorpusError(f"line {number}: {fault}")


if __name__ == "__main__":
    runpy.run_module("fastrnn.commands.corpus_files", run_name="__main__")  # the library imports no commands
