"""Chord symbols as jazz musicians write them, and the scales that fit them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_NOTE = re.compile(r"([A-G])([#b♯♭]*)")
_NO_CHORD = re.compile(r"N\.?C\.?$")
# In the order in which they are tried: "maj" before "m", "-9" as flat nine before "-" as minor, "6/9" before "6".
_PARTS = [
    (kind, re.compile(pattern))
    for kind, pattern in [
        ("punctuation", r"[(),]"),
        ("major", r"maj|Maj|MAJ|ma(?!d)|Ma|MA|M(?!I|in)|∆|Δ|△|\^"),
        ("alteration", r"([b#♭♯+\u2212-])(13|11|9|6|5)"),
        ("minor", r"min|Min|MIN|mi|MI|m|-|\u2212"),
        ("half", r"ø7?|Ø7?"),
        ("diminished", r"dim|°|º|o(?!mit)"),
        ("sus", r"sus(4|2)?"),
        ("add", r"add([b#♭♯]?)(13|11|9|6|4|2)"),
        ("omit", r"(?:no|omit)(3|5)"),
        ("altered", r"alt"),
        ("augmented", r"aug|\+"),
        ("number", r"6/9|69|13|11|9|7|6|5|4|2"),
    ]
]
_DEGREES = {"2": 2, "4": 5, "6": 9, "9": 2, "11": 5, "13": 9}
_TENSIONS = ("9", "11", "13")
_ALTERED = {"b5": 6, "#5": 8, "b9": 1, "#9": 3, "#11": 6, "b13": 8, "b6": 8}  # degree -> semitones above the root
_ASCII = str.maketrans("♯♭+-\u2212", "#b#bb")


class ChordError(ValueError):
    """A chord symbol or a line of changes that does not parse; the message shows where, with a caret below the place."""

    def __init__(self, fault: str, text: str, position: int) -> None:
        """``position`` is the index of the offending character in ``text``; its line, or what is near, is shown."""
        start = text.rfind("\n", 0, position) + 1
        line = text[start:].split("\n", 1)[0]
        first = max(0, min(position - start - _SHOWN_BEFORE, len(line) - _SHOWN))
        shown = "".join(map(_visible, line[first : first + _SHOWN]))
        dots = ("…" if first else "", "…" if first + _SHOWN < len(line) else "")
        before = "".join("\t" if c == "\t" else " " for c in dots[0] + shown[: position - start - first])
        super().__init__(f"{fault}\n  {dots[0]}{shown}{dots[1]}\n  {before}^")
        self.fault, self.text, self.position = fault, text, position


_SHOWN, _SHOWN_BEFORE = 100, 60  # of a long line: the characters that are shown, and those of them before the place


def _visible(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return " " if character.isspace() else "\ufffd"


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
    chord on C sharp, and ``C(#9)`` is not. Dominant 11th chords leave out their third. Raises ChordError, which shows where.
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
    root = _pitch_class(match)
    tones = _Tones()
    position = match.end()
    while position < end and text[position] != "/":
        position = _part(tones, text, position, end)
    if tones.depth:
        raise ChordError("this parenthesis is not closed", text, text.index("(", start))
    bass = root
    if position < end:
        note = _NOTE.fullmatch(text, position + 1, end)
        if not note:
            raise ChordError(f"expected the bass note after the slash in {symbol!r}", text, position + 1)
        bass = _pitch_class(note)
    pitch_classes = frozenset((root + interval) % 12 for interval in tones.intervals()) | {bass}
    return Chord(symbol, root, pitch_classes, bass)


@dataclass
class _Tones:
    """What a symbol's parts have said so far, in semitones above the root."""

    third: int | None = 4
    fifths: set[int] = field(default_factory=set)  # empty: a perfect one
    no_fifth: bool = False
    seventh: int | None = None
    kind_of_seventh: int = 10  # what a later number adds
    others: set[int] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    depth: int = 0  # of parentheses

    def intervals(self) -> set[int]:
        found = {0} | self.others
        if self.third is not None:
            found.add(self.third)
        if not self.no_fifth:
            found |= self.fifths or {7}
        if self.seventh is not None:
            found.add(self.seventh)
        return found

    def major(self, match: re.Match[str]) -> None:
        self.kind_of_seventh = 11
        if match[0] in "∆Δ△^":  # these mean the seventh by themselves
            self.seventh = 11

    def minor(self, match: re.Match[str]) -> None:
        self.third = 3

    def half(self, match: re.Match[str]) -> None:
        self.third, self.seventh = 3, 10
        self.fifths.add(6)

    def diminished(self, match: re.Match[str]) -> None:
        self.third, self.kind_of_seventh = 3, 9
        self.fifths.add(6)

    def augmented(self, match: re.Match[str]) -> None:
        self.fifths.add(8)

    def altered(self, match: re.Match[str]) -> None:
        self.seventh, self.no_fifth = 10, True
        self.others |= {1, 3, 6, 8}

    def sus(self, match: re.Match[str]) -> None:
        self.third = None
        self.others.add(2 if match[1] == "2" else 5)

    def add(self, match: re.Match[str]) -> None:
        shift = {"b": -1, "#": 1, "": 0}[match[1].translate(_ASCII)]
        self.others.add(_DEGREES[match[2]] + shift)

    def tension(self, match: re.Match[str]) -> None:
        self.others.add(_DEGREES[match[0]])

    def omit(self, match: re.Match[str]) -> None:
        if match[1] == "3":
            self.third = None
        else:
            self.no_fifth = True

    def alteration(self, match: re.Match[str]) -> None:
        sign, degree = match[1].translate(_ASCII), match[2]
        interval = _ALTERED[sign + degree]
        if degree == "5":
            self.fifths.add(interval)
        else:
            self.others.discard(_DEGREES[degree])
            self.others.add(interval)

    def number(self, match: re.Match[str]) -> None:
        digits = match[0].replace("/", "")
        if digits in ("5", "4"):
            self.third = None
        if digits in ("7", "9", "11", "13"):
            self.seventh = self.kind_of_seventh
        self.others |= {"2": {2}, "4": {5}, "6": {9}, "69": {9, 2}, "9": {2}, "11": {2, 5}, "13": {2, 9}}.get(digits, set())
        if digits == "11" and self.third == 4 and self.seventh == 10:
            self.third = None


def _part(tones: _Tones, text: str, position: int, end: int) -> int:
    """Take one part of a symbol at ``position``; returns where the next begins."""
    for kind, pattern in _PARTS:
        match = pattern.match(text, position, end)
        # Before a number + and - are the quality, after one they are sharp and flat: C-9, C7-9.
        if not match or (
            kind == "alteration" and match[0][0] in "+-\u2212" and match[2] != "5" and "number" not in tones.seen
        ):
            continue
        if kind == "punctuation":
            tones.depth += {"(": 1, ")": -1, ",": 0}[match[0]]
            if tones.depth + (match[0] == ")") < 1:  # a comma, or an end, outside of parentheses
                break
            return match.end()
        if kind == "alteration" and match[1].translate(_ASCII) + match[2] not in _ALTERED:
            raise ChordError(f"no chord has {match[0]}", text, position)
        if kind == "number" and tones.depth and "number" in tones.seen and match[0] in _TENSIONS:
            kind = "tension"  # C7(13)
        group = "third" if kind in ("minor", "half", "diminished") else kind
        if group in tones.seen and kind not in ("alteration", "add", "omit", "tension"):
            break
        tones.seen.add(group)
        getattr(tones, kind)(match)
        return match.end()
    _unknown(text, position, end)


def _unknown(text: str, position: int, end: int) -> NoReturn:
    raise ChordError(f"{text[position:end]!r} is not part of a chord symbol that is known here", text, position)


def _pitch_class(match: re.Match[str]) -> int:
    signs = match[2].translate(_ASCII)
    return (LETTERS[match[1]] + signs.count("#") - signs.count("b")) % 12


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
