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
    """A chord: its symbol as written, and the pitch classes 0..11 of its root, its tones and its bass.

    ``N.C.`` has no tones; its root and bass are 0 and mean nothing.
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
        """Return the chord ``semitones`` higher, with its root spelt in flats or in sharps."""
        if not self.pitch_classes or semitones % 12 == 0:
            return self
        match = _NOTE.match(self.symbol)
        suffix = self.symbol[match.end() if match else 0 :]
        root, bass = (self.root + semitones) % 12, (self.bass + semitones) % 12
        kind, slash, below = suffix.rpartition("/")
        if slash and _NOTE.fullmatch(below):  # not so in C6/9
            suffix = f"{kind}/{note_name(bass, flats)}"
        suffix = re.sub(r"^[#♯b♭]1?\d", r"(\g<0>)", suffix)  # C#b9 becomes D(b9), because Db9 is another chord
        symbol = note_name(root, flats) + suffix
        return Chord(symbol, root, frozenset((p + semitones) % 12 for p in self.pitch_classes), bass)

    def features(self) -> NDArray[np.float32]:
        """Return float32 ``[24]``: the 12 pitch classes, 1 for a tone, then the root, one-hot; zeros for ``N.C.``."""
        values = np.zeros(24, np.float32)
        values[list(self.pitch_classes)] = 1
        if self.pitch_classes:
            values[12 + self.root] = 1
        return values


NO_CHORD = Chord("N.C.", 0, frozenset(), 0)


def chord_table(chords: Iterable[Chord]) -> NDArray[np.float32]:
    """Return the features of M chords, float32 ``[M+1,24]``: row m + 1 is chord m; row 0, before all chords, is ``N.C.``."""
    return np.stack([NO_CHORD.features(), *(chord.features() for chord in chords)])


def note_name(pitch_class: int, flats: bool = True) -> str:
    """Return the name of a pitch class, such as ``Eb`` or ``D#``."""
    return (FLAT_NAMES if flats else SHARP_NAMES)[pitch_class % 12]


def parse_note(text: str) -> int:
    """Return the pitch class 0..11 of a note's name such as ``Bb``, ``F♯`` or ``Cb``. Raises ChordError."""
    match = _NOTE.fullmatch(text)
    if not match:
        raise ChordError(f"{text!r} is not the name of a note: expected A to G, then sharps or flats", text, 0)
    return _pitch_class(match)


def parse_chord(symbol: str) -> Chord:
    """Parse a symbol: ``C``, ``C-7``, ``Cmaj7``, ``C∆``, ``Cø``, ``C7b9``, ``C6/9``, ``C7alt``, ``C/E``, ``N.C.``.

    Sharps and flats are in ASCII or Unicode. An accidental right after the letter belongs to the root: ``C#9`` is the ninth
    chord on C sharp, and ``C(#9)`` is not. Dominant 11th chords have no third. Every part of a symbol must be understood;
    :mod:`fastrnn.music._theory.chord_quality` has the rules. Raises ChordError, which shows the place.
    """
    return parse_chord_in(symbol, 0, len(symbol))


def parse_chord_in(text: str, start: int, end: int) -> Chord:
    """Parse the symbol ``text[start:end]`` as :func:`parse_chord` does. Raises ChordError, which shows ``text``."""
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
    """Raise ChordError if the last of two accidentals may belong to the root or to the number after it: Bbb5, F##9."""
    signs, number = match[2] or "", _ALTERABLE.match(text, match.end(), end)
    if len(signs) > 1 and number:
        note, sign = match[0][:-1], signs[-1]
        double = match[1] + ("\U0001d12b" if sign in "b♭" else "\U0001d12a")
        fault = f"{match[0]}{number[0]} has two meanings: write {note}({sign}{number[0]}), or {double}{number[0]}"
        raise ChordError(fault, text, match.end() - 1)


def _pitch_class(match: re.Match[str]) -> int:
    return (LETTERS[match[1]] + sum(_SEMITONES[sign] for sign in match[2] or "")) % 12


# Semitones above the root. For each family of chords the most usual scale comes first.
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
    """Return the names in ``SCALES`` that contain all tones of the chord, most usual first; may be empty.

    Scales start at the chord's root. A dominant chord takes no scale with a major seventh, and a minor chord none with a
    major third.
    """
    for tones in (
        chord.intervals,
        chord.intervals - {(chord.bass - chord.root) % 12},
    ):  # no scale may contain a bass outside the chord
        minor = 3 in tones and 4 not in tones
        found = [name for name, steps in SCALES.items() if tones and tones <= set(steps) and not (minor and 4 in steps)]
        if found:
            return tuple(found)
    return ()


def scale(chord: Chord) -> frozenset[int]:
    """Return the pitch classes of the first of :func:`scales`; the chord's own tones if there is none."""
    names = scales(chord)
    if not names:
        return chord.pitch_classes
    return frozenset((chord.root + step) % 12 for step in SCALES[names[0]]) | chord.pitch_classes
