"""A piece of music on a grid of 12 ticks a quarter: files are read into it, and models learn from it and write it.

Twelve is the least number of ticks at which sixteenths (3 ticks), triplet eighths (4) and eighths (6) are whole. Time is
counted in beats, never in seconds: tempos say how fast the ticks pass, metres where the bars begin.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks

if TYPE_CHECKING:
    from .chords import Chord

TICKS = 12  # a quarter
STRAIGHT, HARDEST = 0.5, 0.72  # limits of Piece.swing; 0.75 would be a dotted eighth

Metre = tuple[int, int, int]  # the tick at which it begins, which also begins a bar; numerator, denominator
Tempo = tuple[int, float]  # the tick at which it begins, quarters a minute


def folded(name: str) -> str:
    """Return a name in the form in which names are compared: NFKC, and without case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


@dataclass(frozen=True, slots=True)
class Note:
    """One note: ``onset`` >= 0 and ``duration`` >= 1 in ticks, ``pitch`` 0..127 (60 is middle C), ``velocity`` 1..127.

    Raises ValueError for a value outside these limits, and TypeError for one that is not an integer.
    """

    onset: int
    duration: int
    pitch: int
    velocity: int = 80

    def __post_init__(self) -> None:
        checks.positive_int("onset", self.onset, 0)
        checks.positive_int("duration", self.duration)
        _in_range("pitch", self.pitch, 0, 127)
        _in_range("velocity", self.velocity, 1, 127)

    @property
    def end(self) -> int:
        """The first tick after the note."""
        return self.onset + self.duration


@dataclass(frozen=True, slots=True)
class Part:
    """The notes of one instrument, sorted by onset, then pitch. ``program`` 0..127 is General MIDI's, counted from 0."""

    name: str = ""
    program: int = 0
    is_drum: bool = False
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        _in_range("program", self.program, 0, 127)
        object.__setattr__(self, "notes", tuple(sorted(self.notes, key=lambda note: (note.onset, note.pitch))))

    @property
    def end(self) -> int:
        """The end of the note that ends last; 0 without notes."""
        return max((note.end for note in self.notes), default=0)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return ``onset, duration, pitch, velocity``, each int64 ``[number of notes]``."""
        rows = [(note.onset, note.duration, note.pitch, note.velocity) for note in self.notes]
        onset, duration, pitch, velocity = np.array(rows, np.int64).reshape(-1, 4).T
        return onset, duration, pitch, velocity


@dataclass(frozen=True, slots=True)
class Piece:
    """Parts with their common metres, tempos and chords.

    Attributes
    ----------
    parts
        The parts.
    metres, tempos, chords
        Changes, each with the tick at which it begins, sorted by tick. The first metre and tempo begin at tick 0; the
        defaults are 4/4 and 120 quarters a minute. Without ``chords`` the harmony is unknown.
    length
        In ticks; at least up to the end of the last note.
    swing
        The place of an off-beat eighth in its beat when it is played, 0.5..0.72 (see :mod:`fastrnn.music._midi.grid`). The
        notes themselves lie straight.

    Raises
    ------
    TypeError, ValueError
        If a value is invalid.
    """

    parts: tuple[Part, ...] = ()
    metres: tuple[Metre, ...] = ((0, 4, 4),)
    tempos: tuple[Tempo, ...] = ((0, 120.0),)
    chords: tuple[tuple[int, Chord], ...] = ()
    length: int = 0
    swing: float = STRAIGHT

    def __post_init__(self) -> None:
        checks.positive_int("length", self.length, 0)
        swing = checks.number("swing", self.swing, STRAIGHT, HARDEST)
        parts = tuple(self.parts)
        metres = _from_zero("metres", self.metres, (0, 4, 4))
        tempos = _from_zero("tempos", self.tempos, (0, 120.0))
        for _, numerator, denominator in metres:
            checks.positive_int("the numerator of a metre", numerator)
            checks.positive_int("the denominator of a metre", denominator)
        for _, bpm in tempos:
            checks.number("a tempo", bpm, 0, open_low=True)
        set_ = object.__setattr__  # the dataclass is frozen for everyone else
        set_(self, "parts", parts)
        set_(self, "metres", metres)
        set_(self, "tempos", tempos)
        set_(self, "chords", tuple(sorted(self.chords, key=lambda chord: chord[0])))
        set_(self, "swing", swing)
        set_(self, "length", max([self.length, *(part.end for part in parts)]))

    def part(self, name: str) -> Part:
        """Return the first part of this name, compared by :func:`folded`. Raises ValueError, which lists the parts."""
        for part in self.parts:
            if folded(part.name) == folded(name):
                return part
        raise ValueError(f"name must be one of {', '.join(repr(part.name) for part in self.parts)}, got {name!r}")

    def bars(self) -> NDArray[np.int64]:
        """Return the tick at which each bar begins, int64 ``[bars]``; the piece ends in the last bar."""
        return bar_lines(self.metres, max(self.length, 1))

    def bar_ends(self) -> NDArray[np.int64]:
        """Return the tick at which each of :meth:`bars` ends, int64 ``[bars]``; the last bar has its full length."""
        bars = self.bars()
        last = int(bars[-1])
        metre = next(metre for metre in reversed(self.metres) if metre[0] <= last)
        following = bar_lines([metre], last + math.ceil(bar_length(*metre[1:])) + 1)
        return np.append(bars[1:], following[following > last][0])

    def bar_metres(self) -> list[tuple[int, int]]:
        """Return the metre of each of :meth:`bars`, numerator and denominator."""
        of_bar = np.searchsorted([metre[0] for metre in self.metres], self.bars(), side="right") - 1
        return [self.metres[m][1:] for m in of_bar.tolist()]

    def beats(self) -> NDArray[np.int64]:
        """Return the tick at which each beat of :meth:`bars` begins, int64; see :func:`beat_length`."""
        steps = [beat_length(*metre) for metre in self.bar_metres()]
        bounds = zip(self.bars().tolist(), self.bar_ends().tolist(), steps, strict=True)
        return np.concatenate([np.arange(start, end, step, dtype=np.int64) for start, end, step in bounds])

    def strong_beats(self) -> NDArray[np.int64]:
        """Return the ticks of the strong beats, int64, in order: the first of each bar, and one in its middle."""
        bars, beats = self.bars(), self.beats()
        return np.union1d(bars, beats[np.isin(2 * beats, bars + self.bar_ends())])

    def chord_at(self, ticks: Any) -> NDArray[np.int64]:
        """Return the index of the chord that sounds at each of ``ticks`` (any shape), int64; -1 before the first."""
        starts = np.array([tick for tick, _ in self.chords], np.int64)
        return np.searchsorted(starts, np.asarray(ticks), side="right").astype(np.int64) - 1


def transposed(part: Part, semitones: int) -> Part:
    """Transpose a part up by ``semitones``; drums stay. Raises ValueError if a note would leave 0..127."""
    if part.is_drum or not semitones:
        return part
    return replace(part, notes=tuple(replace(note, pitch=note.pitch + semitones) for note in part.notes))


def separated(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Return the notes as one instrument can play them, sorted by onset, then pitch.

    A note is cut where its pitch is struck again. Notes with the same onset and pitch become one, as long as the longest and
    as loud as the loudest.
    """
    columns = separated_columns(*Part(notes=tuple(notes)).arrays())
    return tuple(map(Note, *(column.tolist() for column in columns)))


def separated_columns(
    onset: NDArray[np.int64], duration: NDArray[np.int64], pitch: NDArray[np.int64], *others: NDArray[np.int64]
) -> tuple[NDArray[np.int64], ...]:
    """Separate notes given as arrays ``[N]``; ``others``, such as velocity, keep the largest of notes that become one."""
    order = np.lexsort((pitch, onset))
    onset, pitch = onset[order], pitch[order]
    is_first = np.append(True, (np.diff(onset) != 0) | (np.diff(pitch) != 0))[: len(onset)]
    starts = np.flatnonzero(is_first)
    onset, pitch = onset[starts], pitch[starts]
    largest = [np.maximum.reduceat(column[order], starts) if len(starts) else column for column in (duration, *others)]
    by_pitch = np.lexsort((onset, pitch))
    is_same = np.diff(pitch[by_pitch]) == 0  # the next note has the same pitch
    struck, again = by_pitch[:-1][is_same], by_pitch[1:][is_same]
    largest[0][struck] = np.minimum(largest[0][struck], onset[again] - onset[struck])
    return onset, largest[0], pitch, *largest[1:]


def merged(parts: Iterable[Part], name: str = "") -> Part:
    """Merge parts, such as a piano's two hands, into one with the first one's program; notes are :func:`separated`."""
    parts = tuple(parts)
    first = parts[0] if parts else Part()
    return Part(name or first.name, first.program, first.is_drum, separated(note for part in parts for note in part.notes))


def bar_length(numerator: int, denominator: int) -> Fraction:
    """Return the length of a bar in ticks; it is not an integer in metres such as 5/32, which do not fit the grid."""
    return Fraction(4 * TICKS * numerator, denominator)


def pickup_length(metres: tuple[Metre, ...]) -> int:
    """Return the length of the pickup in ticks, or 0. It is a first bar that ends early, at a change to longer bars."""
    if len(metres) < 2:
        return 0
    second, *metre = metres[1]
    return second if second <= bar_length(*metres[0][1:]) and second < bar_length(*metre) else 0


def beat_length(numerator: int, denominator: int) -> int:
    """Return the length of a beat in ticks: 12 in 4/4, 3/4 and 2/2; 18 in 6/8 and 12/8; 6 in 3/8 and 5/8.

    A beat is a quarter, eighth or sixteenth, or three eighths or sixteenths in a compound metre.
    """
    note = min(TICKS, max(4 * TICKS // denominator, TICKS // 4))
    return 3 * note if note < TICKS and numerator > 3 and numerator % 3 == 0 else note


def commonest_metre(pieces: Iterable[Piece]) -> tuple[int, int]:
    """Return the metre ``(numerator, denominator)`` of most ticks of all pieces; 4/4 if there is none.

    Metres whose bars the grid cannot hold (see :func:`bar_length`) are ignored.
    """
    ticks: Counter[tuple[int, int]] = Counter()
    for piece in pieces:
        ends = [start for start, _, _ in piece.metres[1:]] + [piece.length]
        for (start, numerator, denominator), end in zip(piece.metres, ends, strict=True):
            if bar_length(numerator, denominator).denominator == 1:
                ticks[numerator, denominator] += max(0, min(end, piece.length) - start)
    return max(ticks, key=lambda metre: ticks[metre], default=(4, 4))


def bar_lines(metres: Iterable[Metre], length: int) -> NDArray[np.int64]:
    """Return the ticks below ``length`` at which bars begin, int64 ``[bars]``; a change of metre always begins a bar."""
    changes = list(metres)
    ends = [start for start, _, _ in changes[1:]] + [length]
    lines = []
    for (start, numerator, denominator), end in zip(changes, ends, strict=True):
        bar = bar_length(numerator, denominator)
        count = max(0, -((start - min(end, length)) // bar))
        lines.append(start + np.arange(count) * bar.numerator // bar.denominator)
    return np.unique(np.concatenate(lines)).astype(np.int64)


def position_in_bar(metres: Iterable[Metre], ticks: Any) -> NDArray[np.int64]:
    """Return the distance of each of ``ticks`` (integers >= 0, any shape) from the last bar line, int64 of that shape."""
    at = np.asarray(ticks, np.int64)
    return after_line(bar_lines(metres, int(at.max(initial=0)) + 1), at)


def after_line(lines: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distance of each of ``ticks`` (any shape) from the last of the bar ``lines``, int64 of that shape."""
    position: NDArray[np.int64] = ticks - lines[np.searchsorted(lines, ticks, side="right") - 1]
    return position


def _from_zero(name: str, changes: Any, default: Any) -> tuple[Any, ...]:
    """Sort changes by tick, with ``default`` at tick 0 if nothing is there; of several at one tick the last counts."""
    at = {}
    for change in changes:
        at[checks.positive_int(f"the tick of {name}", change[0], 0)] = tuple(change)
    if 0 not in at:
        at[0] = default
    return tuple(at[tick] for tick in sorted(at))


def _in_range(name: str, value: object, low: int, high: int) -> None:
    if checks.positive_int(name, value, low) > high:
        raise ValueError(f"{name} must be at most {high}, got {value}")
