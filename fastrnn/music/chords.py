"""Chord symbols as jazz musicians write them, and the scales that fit them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._theory.chord_error import ChordError as ChordError
from ._theory.chord_quality import read_quality

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_NOTE = re.compile(r"([A-G])(#+|♯+|b+|♭+|\U0001d12a|\U0001d12b)?")
_NO_CHORD = re.compile(r"[Nn]\.?[Cc]\.?$")
_ALTERABLE = re.compile("13|11|9|6|5|4")
_SEMITONES = {"#": 1, "♯": 1, "b": -1, "♭": -1, "\U0001d12a": 2, "\U0001d12b": -2}


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord: its symbol as written, the root's pitch class 0..11, the pitch classes of its tones, the bass' pitch class.

    ``N.C.`` has no pitch classes; its root and bass are 0 and mean nothing.
    """

    symbol: str
    root: int
    pitch_classes: frozenset[int]
    bass: int

    @property
    def intervals(self) -> frozenset[int]:
        """The tones as semitones above the root, 0..11."""
        return frozenset((p - self.root) % 12 for p in self.pitch_classes)

    def transposed(self, semitones: int, *, flats: bool = True) -> Chord:
        """The same chord ``semitones`` higher, its root spelt with flats or with sharps."""
        if not self.pitch_classes or semitones % 12 == 0:
            return self
        match = _NOTE.match(self.symbol)
        suffix = self.symbol[match.end() if match else 0 :]
        root, bass = (self.root + semitones) % 12, (self.bass + semitones) % 12
        kind, slash, below = suffix.rpartition("/")
        if slash and _NOTE.fullmatch(below):  # not so in C6/9
            suffix = f"{kind}/{note_name(bass, flats)}"
        suffix = re.sub(r"^[#♯b♭]1?\d", r"(\g<0>)", suffix)  # of C#b9: on D it would be the root's
        symbol = note_name(root, flats) + suffix
        return Chord(symbol, root, frozenset((p + semitones) % 12 for p in self.pitch_classes), bass)

    def features(self) -> NDArray[np.float32]:
        """[24] float32: the tones as ones among 12 pitch classes, then the root, one-hot; zeros for ``N.C.``."""
        values = np.zeros(24, np.float32)
        values[list(self.pitch_classes)] = 1
        if self.pitch_classes:
            values[12 + self.root] = 1
        return values


NO_CHORD = Chord("N.C.", 0, frozenset(), 0)


def chord_table(chords: Iterable[Chord]) -> NDArray[np.float32]:
    """The chords' features after those of no chord, float32 ``[M+1,24]``: row m + 1 is chord m, row 0 what is before all."""
    return np.stack([NO_CHORD.features(), *(chord.features() for chord in chords)])


def note_name(pitch_class: int, flats: bool = True) -> str:
    """The name of a pitch class, such as ``Eb`` or ``D#``."""
    return (FLAT_NAMES if flats else SHARP_NAMES)[pitch_class % 12]


def parse_note(text: str) -> int:
    """The pitch class 0..11 of a note's name such as ``Bb``, ``F♯`` or ``Cb``. Raises ChordError."""
    match = _NOTE.fullmatch(text)
    if not match:
        raise ChordError(f"{text!r} is not the name of a note: expected A to G, then sharps or flats", text, 0)
    return _pitch_class(match)


def parse_chord(symbol: str) -> Chord:
    """A chord from its symbol: ``C``, ``C-7``, ``Cmaj7``, ``C∆``, ``Cø``, ``C7b9``, ``C6/9``, ``C7alt``, ``C/E``, ``N.C.``.

    Sharps and flats in ASCII or Unicode. An accidental right after the letter belongs to the root: ``C#9`` is the ninth
    chord on C sharp, and ``C(#9)`` is not. Dominant 11th chords leave out their third. Every part of a symbol is understood
    (:mod:`fastrnn.music._theory.chord_quality` says how), or the symbol is refused. Raises ChordError, which shows where.
    """
    return parse_chord_in(symbol, 0, len(symbol))


def parse_chord_in(text: str, start: int, end: int) -> Chord:
    """As :func:`parse_chord`, for the symbol ``text[start:end]`` in a longer text that errors show. Raises ChordError."""
    symbol = text[start:end]
    if _NO_CHORD.fullmatch(symbol):
        return NO_CHORD
    match = _NOTE.match(text, start, end)
    if not match:
        raise ChordError("expected a chord: a root from A to G, or N.C.", text, start)
    _check_root(match, text, end)
    root = _pitch_class(match)
    intervals, position = read_quality(text, start, match, end, _NOTE)
    note = _NOTE.fullmatch(text, position + 1, end) if position < end else None
    bass = _pitch_class(note) if note else root
    pitch_classes = frozenset((root + interval) % 12 for interval in intervals) | {bass}
    return Chord(symbol, root, pitch_classes, bass)


def _check_root(match: re.Match[str], text: str, end: int) -> None:
    """Raise ChordError where the last of two accidentals may belong to the root or to the number after it: Bbb5, F##9."""
    signs, number = match[2] or "", _ALTERABLE.match(text, match.end(), end)
    if len(signs) > 1 and number:
        note, sign = match[0][:-1], signs[-1]
        double = match[1] + ("\U0001d12b" if sign in "b♭" else "\U0001d12a")
        fault = f"{match[0]}{number[0]} is read in two ways: write {note}({sign}{number[0]}), or {double}{number[0]}"
        raise ChordError(fault, text, match.end() - 1)


def _pitch_class(match: re.Match[str]) -> int:
    return (LETTERS[match[1]] + sum(_SEMITONES[sign] for sign in match[2] or "")) % 12


# Semitones above the root, most usual first among those that fit a family of chords.
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "lydian augmented": (0, 2, 4, 6, 8, 9, 11),
    "harmonic major": (0, 2, 4, 5, 7, 8, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian dominant": (0, 2, 4, 6, 7, 9, 10),
    "whole tone": (0, 2, 4, 6, 8, 10),
    "phrygian dominant": (0, 1, 4, 5, 7, 8, 10),
    "half-whole diminished": (0, 1, 3, 4, 6, 7, 9, 10),
    "altered": (0, 1, 3, 4, 6, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "aeolian": (0, 2, 3, 5, 7, 8, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "melodic minor": (0, 2, 3, 5, 7, 9, 11),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "locrian natural 2": (0, 2, 3, 5, 6, 8, 10),
    "whole-half diminished": (0, 2, 3, 5, 6, 8, 9, 11),
}


def scales(chord: Chord) -> tuple[str, ...]:
    """Names in :data:`SCALES` of those that hold all tones of the chord above its root, most usual first; may be empty.

    A dominant chord does not take a scale with a major seventh, and no minor chord one with a major third.
    """
    for tones in (chord.intervals, chord.intervals - {(chord.bass - chord.root) % 12}):  # a foreign bass may fit nothing
        minor = 3 in tones and 4 not in tones
        found = [name for name, steps in SCALES.items() if tones and tones <= set(steps) and not (minor and 4 in steps)]
        if found:
            return tuple(found)
    return ()


def scale(chord: Chord) -> frozenset[int]:
    """The pitch classes of the first of :func:`scales`; without any, the chord's own tones."""
    names = scales(chord)
    if not names:
        return chord.pitch_classes
    return frozenset((chord.root + step) % 12 for step in SCALES[names[0]]) | chord.pitch_classes
