"""Chord changes, written as ``"Dm7 | G7 | Cmaj7 | %"``, and the progressions that every jazz musician knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from .. import checks
from .chords import Chord, ChordError, parse_chord_in, parse_note
from .piece import TICKS, bar_length

_TOKEN = re.compile(
    r"[^\S\n]*(?:(?P<open>\|*\|:)|(?P<close>:\|+(?:x(?P<times>\d+))?\|*)|(?P<line>\|+\]?|\n)|(?P<word>[^\s|:]+)|(?P<odd>\S))"
)

Bar = tuple[tuple[int, Chord], ...]  # the ticks within the bar at which chords begin, in order

_FLAT_KEYS = frozenset({0, 5, 10, 3, 8, 1, 6})  # C F Bb Eb Ab Db Gb
_KEY = re.compile(r"([A-G][#b♯♭]*)\s*(?:m|min|minor|-|maj|major)?")
_MOST_REPEATS = 64


@dataclass(frozen=True, slots=True)
class Changes:
    """Bars of chords in one metre: ``bars[b]`` are pairs of a tick within the bar and the chord that begins there."""

    bars: tuple[Bar, ...]
    metre: tuple[int, int] = (4, 4)

    @property
    def bar(self) -> int:
        """The length of a bar in ticks."""
        return int(bar_length(*self.metre))

    @property
    def length(self) -> int:
        """The length of all bars in ticks."""
        return self.bar * len(self.bars)

    @property
    def chords(self) -> tuple[tuple[int, Chord], ...]:
        """The chords with the ticks at which they begin, as a Piece has them; a chord that goes on is not said again."""
        found: list[tuple[int, Chord]] = []
        for b, bar in enumerate(self.bars):
            for tick, chord in bar:
                if not found or found[-1][1] != chord:
                    found.append((b * self.bar + tick, chord))
        return tuple(found)

    def choruses(self, n: int) -> Changes:
        """The same, ``n`` times. Raises TypeError or ValueError."""
        return replace(self, bars=self.bars * checks.positive_int("n", n))

    def transposed(self, semitones: int, *, flats: bool = True) -> Changes:
        """All chords ``semitones`` higher, their roots spelt with flats or with sharps."""
        return replace(
            self, bars=tuple(tuple((t, c.transposed(semitones, flats=flats)) for t, c in bar) for bar in self.bars)
        )

    def __str__(self) -> str:
        """The changes as :func:`parse_changes` reads them."""
        words: list[str] = []
        for b, bar in enumerate(self.bars):
            words.append("%" if b and bar == self.bars[b - 1] else " ".join(_slots(bar, self.bar)))
        return " | ".join(words)


def _slots(bar: Bar, length: int) -> Iterator[str]:
    """The words of a bar: chords alone where they share it evenly, else one word a beat."""
    starts = [tick for tick, _ in bar]
    if starts == _even(len(bar), length):
        yield from (chord.symbol for _, chord in bar)
        return
    step = next(step for step in (TICKS, TICKS // 2, 1) if length % step == 0 and all(t % step == 0 for t in starts))
    at = {tick: chord.symbol for tick, chord in bar}
    yield from (at.get(tick, "/") for tick in range(0, length, step))


def _even(count: int, length: int) -> list[int]:
    """Where ``count`` chords of a bar begin: as evenly as whole beats (or half ones) allow, the longer ones first."""
    step = TICKS if count * TICKS <= length else TICKS // 2
    slots = length // step
    share, more = divmod(slots, count)
    return [step * (i * share + min(i, more)) for i in range(count)] if share else []


def parse_changes(text: str, metre: tuple[int, int] = (4, 4)) -> Changes:
    """Changes from a line (or several) such as ``"|: Dm7 G7 | Cmaj7 | % :| Fm7 / / Bb7 |"``.

    Bars end at ``|`` or at the end of a line. Several chords share a bar evenly, the first ones longer where whole beats do
    not divide (three in 4/4: two beats, one, one); ``/`` holds the chord before it for one more share, ``%`` alone repeats
    the bar before. What stands between ``|:`` and ``:|`` is played twice, or as often as ``:|x4`` says. Raises ChordError,
    which shows the place, and ValueError for a metre that the grid of ticks cannot hold.
    """
    length = bar_length(*metre)
    if length.denominator != 1:
        raise ValueError(f"metre must have bars of whole ticks, got {metre[0]}/{metre[1]}")
    reader = _Reader(text, int(length))
    for match in _TOKEN.finditer(text.rstrip()):
        reader.take(match)
    return Changes(reader.finish(), metre)


class _Reader:
    """Takes the tokens of changes one by one."""

    def __init__(self, text: str, length: int) -> None:
        self.text, self.length = text, length
        self.bars: list[Bar] = []
        self.words: list[re.Match[str]] = []  # of the bar that is being read
        self.repeat: tuple[int, int] | None = None  # the bars before it, and its place in the text
        self.fresh = True  # at the beginning of a line, where a bar line may stand and end no bar

    def take(self, match: re.Match[str]) -> None:
        if match["word"]:
            self.words.append(match)
            self.fresh = False
            return
        kind = match.lastgroup or ""
        at = match.start(kind)
        if match["odd"]:
            self.fail("a repeat begins with |: and ends with :|", at)
        if match["line"] and match["line"] != "\n" and not self.words and not self.fresh:
            self.fail("this bar is empty: repeat the bar before with %", at)
        self.end_bar()
        if match["open"]:
            if self.repeat:
                self.fail("a repeat begins within another", at)
            self.repeat = (len(self.bars), at)
        if match["close"]:
            times = int((match["times"] or "2")[:9])
            if not 1 <= times <= _MOST_REPEATS:
                self.fail(f"a repeat is played 1 to {_MOST_REPEATS} times", match.start("times"))
            self.bars += self.bars[self.repeat[0] if self.repeat else 0 :] * (times - 1)
            self.repeat = None
        self.fresh = match["line"] == "\n" or match["close"] is not None

    def end_bar(self) -> None:
        if self.words:
            self.bars.append(_bar(self.words, self.bars, self.text, self.length))
            self.words = []

    def finish(self) -> tuple[Bar, ...]:
        self.end_bar()
        if self.repeat:
            self.fail("this repeat has no end: expected :|", self.repeat[1])
        if not self.bars:
            self.fail("there are no chords", 0)
        return tuple(self.bars)

    def fail(self, fault: str, at: int) -> NoReturn:
        raise ChordError(fault, self.text, at)


def _bar(words: list[re.Match[str]], before: list[Bar], text: str, length: int) -> Bar:
    """The chords of one bar from its words."""
    first = words[0].start("word")
    if words[0]["word"] == "%" and len(words) == 1:
        if not before:
            raise ChordError("% repeats the bar before, and this is the first", text, first)
        return before[-1]
    starts = _even(len(words), length)
    if not starts:
        raise ChordError(f"a bar of {length / TICKS:g} quarters cannot hold {len(words)} chords", text, first)
    bar: list[tuple[int, Chord]] = []
    for start, word in zip(starts, words, strict=True):
        if word["word"] == "/":
            if bar:
                continue
            if not before:
                raise ChordError("/ holds the chord before it, and there is none", text, word.start("word"))
            bar.append((0, before[-1][-1][1]))
        else:
            bar.append((start, parse_chord_in(text, word.start("word"), word.end("word"))))
    return tuple(bar)


# In C or C minor.
_PROGRESSIONS = {
    "blues": "C7 | F7 | C7 | Gm7 C7 | F7 | F#dim7 | C7 | Em7b5 A7b9 | Dm7 | G7 | C7 A7 | Dm7 G7",
    "simple-blues": "C7 | % | % | % | F7 | % | C7 | % | G7 | F7 | C7 | G7",
    "minor-blues": "Cm7 | % | % | % | Fm7 | % | Cm7 | % | Ab7 | G7 | Cm7 | Dm7b5 G7",
    "ii-V-I": "Dm7 | G7 | Cmaj7 | %",
    "minor-ii-V-i": "Dm7b5 | G7b9 | Cm6 | %",
    "turnaround": "Cmaj7 A7 | Dm7 G7",
    "rhythm-changes": """
        |: C6 A7 | Dm7 G7 | Em7 A7 | Dm7 G7 | C7 | F7 F#dim7 | C6 A7 | Dm7 G7 :|
        E7 | % | A7 | % | D7 | % | G7 | %
        C6 A7 | Dm7 G7 | Em7 A7 | Dm7 G7 | C7 | F7 F#dim7 | Dm7 G7 | C6""",
}


def progressions() -> tuple[str, ...]:
    """The names that :func:`progression` knows."""
    return tuple(_PROGRESSIONS)


def progression(name: str, key: str = "C") -> Changes:
    """A well-known progression in 4/4, in the key of ``key`` (``"Bb"``, ``"F#m"``, ``"C minor"``).

    Raises ValueError for a name that is not among :func:`progressions`, ChordError for a key that is none.
    """
    checks.choice("name", name, progressions())
    tonic = parse_key(key)
    return parse_changes(_PROGRESSIONS[name]).transposed(tonic, flats=flats_in(key))


def blues(key: str = "C") -> Changes:
    """The 12-bar blues of bebop. Raises ChordError for a key that is none."""
    return progression("blues", key)


def minor_blues(key: str = "C") -> Changes:
    """The 12-bar blues in minor. Raises ChordError for a key that is none."""
    return progression("minor-blues", key)


def two_five_one(key: str = "C") -> Changes:
    """ii-V-I in major, four bars. Raises ChordError for a key that is none."""
    return progression("ii-V-I", key)


def rhythm_changes(key: str = "Bb") -> Changes:
    """Thirty-two bars AABA. Raises ChordError for a key that is none."""
    return progression("rhythm-changes", key)


def parse_key(key: str) -> int:
    """The pitch class of the tonic. Raises ChordError."""
    match = _KEY.fullmatch(key.strip())
    if not match:
        raise ChordError(f"{key!r} is not a key: expected a note from A to G, and m where it is minor", key, 0)
    return parse_note(match[1])


def flats_in(key: str) -> bool:
    """Whether chords in this key are spelt with flats. Raises ChordError."""
    tonic = parse_key(key)
    if "#" in key or "♯" in key:
        return False
    if "b" in key or "♭" in key:
        return True
    minor = bool(re.search(r"m(?!aj)|-", key))
    return (tonic + 3 * minor) % 12 in _FLAT_KEYS
