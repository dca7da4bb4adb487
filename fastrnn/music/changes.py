"""Chord changes, written as ``"Dm7 | G7 | Cmaj7 | %"``, and the progressions that every jazz musician knows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from .._core import checks
from .chords import Chord, ChordError, parse_chord_in, parse_note
from .piece import TICKS, bar_length, beat_length

_TOKEN = re.compile(
    r"[^\S\n]*(?:(?P<open>\|*\|:)|(?P<close>:\|+(?:x(?P<times>\d+))?\|*)|(?P<line>\|+\]?|\n)|(?P<word>[^\s|:]+)|(?P<odd>\S))"
)

Bar = tuple[tuple[int, Chord], ...]  # (tick within the bar, chord that begins there), in order

_FLAT_KEYS = frozenset({0, 5, 10, 3, 8, 1, 6})  # C F Bb Eb Ab Db Gb
_KEY = re.compile(r"(?P<tonic>[A-G][#b♯♭]?)\s*(?:(?P<minor>m|min|minor|-)|(?P<major>maj|major))?")
_MOST_REPEATS, _MOST_BARS = 64, 1024


@dataclass(frozen=True, slots=True)
class Changes:
    """Bars of chords in one metre: ``bars[b]`` holds pairs (tick within the bar, chord that begins there)."""

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
        """The pairs (tick, chord) of a Piece; a chord that continues is listed once."""
        found: list[tuple[int, Chord]] = []
        for b, bar in enumerate(self.bars):
            for tick, chord in bar:
                if not found or found[-1][1] != chord:
                    found.append((b * self.bar + tick, chord))
        return tuple(found)

    def choruses(self, n: int) -> Changes:
        """Return these changes repeated ``n`` times. Raises TypeError or ValueError."""
        return replace(self, bars=self.bars * checks.positive_int("n", n))

    def transposed(self, semitones: int, *, flats: bool = True) -> Changes:
        """Return the changes ``semitones`` higher, with roots spelt in flats or in sharps."""
        return replace(
            self, bars=tuple(tuple((t, c.transposed(semitones, flats=flats)) for t, c in bar) for bar in self.bars)
        )

    def __str__(self) -> str:
        """Return text that :func:`parse_changes` reads back."""
        words: list[str] = []
        for b, bar in enumerate(self.bars):
            words.append("%" if b and bar == self.bars[b - 1] else " ".join(_slots(bar, self.metre)))
        return " | ".join(words)


def _slots(bar: Bar, metre: tuple[int, int]) -> Iterator[str]:
    """Yield the words of a bar: its chords if they share it evenly, else one word per beat or fraction of a beat."""
    starts = [tick for tick, _ in bar]
    if starts == _even(len(bar), metre):
        yield from (chord.symbol for _, chord in bar)
        return
    length = int(bar_length(*metre))
    step = next(step for step in (*_steps(metre), 1) if length % step == 0 and all(t % step == 0 for t in starts))
    at = {tick: chord.symbol for tick, chord in bar}
    yield from (at.get(tick, "/") for tick in range(0, length, step))


def _steps(metre: tuple[int, int]) -> tuple[int, int]:
    """Return the two units of chord lengths, in ticks: the beat; for more chords an eighth, or a sixteenth if that fits."""
    beat, eighth = beat_length(*metre), TICKS // 2
    return beat, eighth if beat % eighth == 0 else eighth // 2


def _even(count: int, metre: tuple[int, int]) -> list[int]:
    """Return the ticks at which ``count`` chords begin, spaced evenly in the larger unit of :func:`_steps` that fits.

    The longer chords come first. The list is empty if the bar cannot hold so many.
    """
    length = int(bar_length(*metre))
    step = next((step for step in _steps(metre) if count * step <= length), 0)
    if not step:
        return []
    share, more = divmod(length // step, count)
    return [step * (i * share + min(i, more)) for i in range(count)]


def parse_changes(text: str, metre: tuple[int, int] = (4, 4)) -> Changes:
    """Parse one or more lines of chords such as ``"|: Dm7 G7 | Cmaj7 | % :| Fm7 / / Bb7 |"``.

    Bars end at ``|`` or at the end of a line. Several chords share a bar evenly. If whole beats do not divide evenly, the
    first chords are longer: three chords in 4/4 last two beats, one and one. ``/`` holds the previous chord for one more
    share, and ``%`` alone repeats the previous bar. The bars between ``|:`` and ``:|`` are played twice, or four times with
    ``:|x4``. A ``:|`` without a ``|:`` repeats from the last ``:|``, or from the beginning. 1024 bars are allowed, repeats
    included.

    Raises ChordError, which shows the place, TypeError for a metre that is not two integers, and ValueError for a metre that
    the grid of ticks cannot hold.
    """
    metre = _checked_metre(metre)
    reader = _Reader(text, metre)
    for match in _TOKEN.finditer(text.rstrip()):
        reader.take(match)
    return Changes(reader.finish(), metre)


def _checked_metre(metre: object) -> tuple[int, int]:
    if not isinstance(metre, (tuple, list)) or len(metre) != 2:
        raise TypeError(f"metre must be two integers such as (3, 4), got {checks.describe(metre)}")
    numerator = checks.positive_int("the numerator of metre", metre[0])
    denominator = checks.positive_int("the denominator of metre", metre[1])
    if bar_length(numerator, denominator).denominator != 1:
        raise ValueError(f"metre must have bars of whole ticks, got {numerator}/{denominator}")
    return numerator, denominator


class _Reader:
    """A parser that takes the tokens of changes one by one."""

    def __init__(self, text: str, metre: tuple[int, int]) -> None:
        self.text, self.metre = text, metre
        self.bars: list[Bar] = []
        self.words: list[re.Match[str]] = []  # of the current bar
        self.first = 0  # the bar from which :| repeats
        self.open: int | None = None  # the place in the text of a |: that is still open
        self.fresh = True  # at the beginning of a line, where a bar line does not end a bar

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
            if self.open is not None:
                self.fail("a repeat begins within another", at)
            self.first, self.open = len(self.bars), at
        if match["close"]:
            self.close(match, at)
        self.fresh = match["line"] == "\n" or match["close"] is not None

    def close(self, match: re.Match[str], at: int) -> None:
        """Close a repeat: append its bars again."""
        times = int((match["times"] or "2")[:9])
        if not 1 <= times <= _MOST_REPEATS:
            self.fail(f"a repeat is played 1 to {_MOST_REPEATS} times", match.start("times"))
        again = self.bars[self.first :]
        if not again:
            self.fail("there are no bars to repeat", at)
        self.add(again * (times - 1), at)
        self.first, self.open = len(self.bars), None

    def add(self, bars: list[Bar], at: int) -> None:
        """Append bars; an error shows the place ``at`` in the text."""
        if len(self.bars) + len(bars) > _MOST_BARS:
            self.fail(f"there are more than {_MOST_BARS} bars, repeats included", at)
        self.bars += bars

    def end_bar(self) -> None:
        if self.words:
            self.add([_bar(self.words, self.bars, self.text, self.metre)], self.words[0].start("word"))
            self.words = []

    def finish(self) -> tuple[Bar, ...]:
        self.end_bar()
        if self.open is not None:
            self.fail("this repeat has no end: expected :|", self.open)
        if not self.bars:
            self.fail("there are no chords", 0)
        return tuple(self.bars)

    def fail(self, fault: str, at: int) -> NoReturn:
        raise ChordError(fault, self.text, at)


def _bar(words: list[re.Match[str]], before: list[Bar], text: str, metre: tuple[int, int]) -> Bar:
    """Parse the words of one bar."""
    first = words[0].start("word")
    if words[0]["word"] == "%" and len(words) == 1:
        if not before:
            raise ChordError("% repeats the bar before, and this is the first", text, first)
        return before[-1]
    starts = _even(len(words), metre)
    if not starts:
        raise ChordError(f"a bar of {metre[0]}/{metre[1]} cannot hold {len(words)} chords", text, first)
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


# All are in C or C minor.
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
    "ballad": """
        Cmaj7 | Am7 | Dm7 | G7 | Em7 | A7b9 | Dm7 | G7
        Gm7 | C7 | Fmaj7 | Fm6 | Em7 A7 | Dm7 G7 | C6 A7 | Dm7 G7""",
    "bossa": """
        Cmaj7 | % | Dm7 | % | G7 | % | Cmaj7 | A7b9
        Dm7 | % | Fm6 | % | Em7 | A7 | Dm7 | G7""",
    "modal": "Cm7 | % | % | % | % | % | % | % | Ebm7 | % | % | % | Cm7 | % | % | %",
    "standard": """
        Cmaj7 | % | E7 | A7 | Dm7 | G7 | Cmaj7 | Gm7 C7
        Fmaj7 | Bb7 | Em7 | A7 | D7 | % | Dm7 | G7""",
    "minor-standard": """
        Fm7 | Bb7 | Ebmaj7 | Abmaj7 | Dm7b5 | G7b9 | Cm6 | %
        Dm7b5 | G7b9 | Cm7 | C7 | Fm7 | Dm7b5 G7b9 | Cm6 | %""",
}


def progressions() -> tuple[str, ...]:
    """Return the names that :func:`progression` accepts."""
    return tuple(_PROGRESSIONS)


def progression_named(text: str) -> str:
    """Return the progression that ``text`` names, ignoring case; empty if there is none."""
    return next((name for name in _PROGRESSIONS if name.casefold() == text.strip().casefold()), "")


# The progression that stands for each name in a minor key.
_MINOR = ("minor-blues", "minor-ii-V-i", "minor-standard", "modal")
_IN_MINOR = {"blues": "minor-blues", "ii-V-I": "minor-ii-V-i", "standard": "minor-standard"} | {
    name: name for name in _MINOR
}


def progression(name: str, key: str = "C", metre: tuple[int, int] = (4, 4)) -> Changes:
    """Return a well-known progression in ``key`` (``"Bb"``, ``"F#m"``, ``"C minor"``), in bars of ``metre``.

    In a minor key ``"blues"`` means ``"minor-blues"`` and ``"ii-V-I"`` means ``"minor-ii-V-i"``. A bare note takes the
    progression's own mode. Raises ValueError for a name that is not among :func:`progressions`, and ChordError for an
    invalid key or one whose mode the progression does not have.
    """
    checks.choice("name", name, progressions())
    tonic, mode = _key(key)["tonic"], mode_of(key)
    if mode == "minor" and name not in _IN_MINOR:
        raise ChordError(f"{name} is in major: expected a key such as {tonic}, and not minor", key, 0)
    if mode == "major" and name in _IN_MINOR.values():
        raise ChordError(f"{name} is in minor: expected a key such as {tonic}m, and not major", key, 0)
    played = _IN_MINOR[name] if mode == "minor" else name
    flats = flats_in(f"{tonic}m" if played in _IN_MINOR.values() else tonic)
    return parse_changes(_PROGRESSIONS[played], metre).transposed(parse_note(tonic), flats=flats)


def changes_of(text: str, key: str | None = None, metre: tuple[int, int] = (4, 4)) -> Changes:
    """Return the changes written in ``text``, or the progression that it names, in bars of ``metre``.

    They are read in C and moved to ``key``; without a key they stay as written.

    Raises ChordError for chords, a name or a key that do not parse. A minor ``key`` is also refused if ``text`` holds
    chords, because these could be meant in C minor or in A minor. Raises ValueError for a metre that the grid of ticks
    cannot hold.
    """
    name = progression_named(text)
    if name:
        return progression(name, "C" if key is None else key, metre)
    try:
        changes = parse_changes(text, metre)
    except ChordError:
        names = {known.casefold(): known for known in progressions()}
        for near in difflib.get_close_matches(text.strip().casefold(), names, 1):
            fault = f"did you mean {names[near]!r}? Progressions: {', '.join(progressions())}"
            raise ChordError(fault, text, 0) from None
        raise
    if key is not None and mode_of(key) == "minor":
        tonic = _key(key)["tonic"]
        raise ChordError(f"given chords are moved from C: expected a key such as {tonic}, and not minor", key, 0)
    return changes if key is None else changes.transposed(parse_key(key), flats=flats_in(key))


def parse_key(key: str) -> int:
    """Return the pitch class of the tonic. Raises ChordError."""
    return parse_note(_key(key)["tonic"])


def mode_of(key: str) -> str:
    """Return ``"minor"`` or ``"major"``; empty for a bare note. Raises ChordError."""
    match = _key(key)
    return "minor" if match["minor"] else "major" if match["major"] else ""


def flats_in(key: str) -> bool:
    """Return True if chords in this key are spelt with flats. Raises ChordError."""
    tonic = _key(key)["tonic"]
    if len(tonic) > 1:
        return tonic[1] in "b♭"
    return (parse_note(tonic) + 3 * (mode_of(key) == "minor")) % 12 in _FLAT_KEYS


def _key(key: str) -> re.Match[str]:
    match = _KEY.fullmatch(key.strip())
    if not match:
        raise ChordError(f"{key!r} is not a key: expected a note such as C, Bb or F#, and m for a minor key", key, 0)
    return match
