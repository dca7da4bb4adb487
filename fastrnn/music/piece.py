"""A piece of music on a grid of 12 ticks a quarter: what files are read into, what models learn from and write.

Twelve is the least number on which sixteenths (3 ticks), triplet eighths (4) and eighths (6) all fall. Time is counted in
beats, never in seconds: tempos say how fast the ticks pass, metres where the bars begin.
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
STRAIGHT, HARDEST = 0.5, 0.72  # swing: see Piece; three quarters of a beat are a dotted eighth, and no swing

Metre = tuple[int, int, int]  # the tick from which it counts, numerator, denominator; a bar begins there
Tempo = tuple[int, float]  # the tick from which it counts, quarters a minute


def folded(name: str) -> str:
    """Return a name as names are compared: without case, and half-width or composed characters in one form (NFKC)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


@dataclass(frozen=True, slots=True)
class Note:
    """One note: ``onset`` >= 0 and ``duration`` >= 1 in ticks, ``pitch`` 0..127 (60 is the middle C), ``velocity`` 1..127.

    Raises ValueError for a value outside those limits, and TypeError for one that is no integer.
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
        """The first tick at which it no longer sounds."""
        return self.onset + self.duration


@dataclass(frozen=True, slots=True)
class Part:
    """The notes of one instrument, kept in the order of onset, then pitch. ``program`` 0..127 is General MIDI's, from 0."""

    name: str = ""
    program: int = 0
    is_drum: bool = False
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        _in_range("program", self.program, 0, 127)
        object.__setattr__(self, "notes", tuple(sorted(self.notes, key=lambda note: (note.onset, note.pitch))))

    @property
    def end(self) -> int:
        """The tick at which its last note ends; 0 without notes."""
        return max((note.end for note in self.notes), default=0)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """``onset, duration, pitch, velocity``, each int64 ``[number of notes]``."""
        rows = [(note.onset, note.duration, note.pitch, note.velocity) for note in self.notes]
        onset, duration, pitch, velocity = np.array(rows, np.int64).reshape(-1, 4).T
        return onset, duration, pitch, velocity


@dataclass(frozen=True, slots=True)
class Piece:
    """Parts, and what holds for all of them, each with the tick from which it counts.

    ``metres``, ``tempos`` and ``chords`` are sorted by tick; the first metre and the first tempo begin at tick 0 (4/4 and
    120 quarters a minute where none is given). ``chords`` may be empty: they are then not known. ``length`` in ticks grows
    to where the last note ends. ``swing`` in 0.5..0.72 is where in its beat an off-beat eighth is to be played (see
    :mod:`fastrnn.music._midi.grid`): the notes themselves lie straight. Raises ValueError for what cannot be.
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
        """Return the first part of that name, compared by :func:`folded`. Raises ValueError, which lists the parts."""
        for part in self.parts:
            if folded(part.name) == folded(name):
                return part
        raise ValueError(f"name must be one of {', '.join(repr(part.name) for part in self.parts)}, got {name!r}")

    def bars(self) -> NDArray[np.int64]:
        """The tick at which each bar begins, int64 ``[bars]``; the last bar is the one in which the piece ends."""
        return bar_lines(self.metres, max(self.length, 1))

    def bar_ends(self) -> NDArray[np.int64]:
        """The tick at which each of :meth:`bars` ends, int64 ``[bars]``; the last one is as long as its metre says."""
        bars = self.bars()
        last = int(bars[-1])
        metre = next(metre for metre in reversed(self.metres) if metre[0] <= last)
        following = bar_lines([metre], last + math.ceil(bar_length(*metre[1:])) + 1)
        return np.append(bars[1:], following[following > last][0])

    def bar_metres(self) -> list[tuple[int, int]]:
        """The metre of each of :meth:`bars`, numerator and denominator."""
        of_bar = np.searchsorted([metre[0] for metre in self.metres], self.bars(), side="right") - 1
        return [self.metres[m][1:] for m in of_bar.tolist()]

    def beats(self) -> NDArray[np.int64]:
        """The tick at which each beat of :meth:`bars` begins, int64; see :func:`beat_length`."""
        steps = [beat_length(*metre) for metre in self.bar_metres()]
        bounds = zip(self.bars().tolist(), self.bar_ends().tolist(), steps, strict=True)
        return np.concatenate([np.arange(start, end, step, dtype=np.int64) for start, end, step in bounds])

    def chord_at(self, ticks: Any) -> NDArray[np.int64]:
        """The index into ``chords`` of what counts at ``ticks`` (integers of any shape), int64; -1 before the first."""
        starts = np.array([tick for tick, _ in self.chords], np.int64)
        return np.searchsorted(starts, np.asarray(ticks), side="right").astype(np.int64) - 1


def transposed(part: Part, semitones: int) -> Part:
    """The part, higher by that many semitones; drums stay. Raises ValueError where a note would leave 0..127."""
    if part.is_drum or not semitones:
        return part
    return replace(part, notes=tuple(replace(note, pitch=note.pitch + semitones) for note in part.notes))


def separated(notes: Iterable[Note]) -> tuple[Note, ...]:
    """The notes as one instrument can play them, in the order of onset, then pitch.

    A note ends where the same pitch is struck again, at the latest. Of several with the same onset and pitch one stays, as
    long and as loud as the longest and the loudest.
    """
    columns = separated_columns(*Part(notes=tuple(notes)).arrays())
    return tuple(map(Note, *(column.tolist() for column in columns)))


def separated_columns(
    onset: NDArray[np.int64], duration: NDArray[np.int64], pitch: NDArray[np.int64], *others: NDArray[np.int64]
) -> tuple[NDArray[np.int64], ...]:
    """Return the notes of :func:`separated` as arrays ``[N]``; of each of ``others``, such as velocity, the largest."""
    order = np.lexsort((pitch, onset))
    onset, pitch = onset[order], pitch[order]
    is_first = np.append(True, (np.diff(onset) != 0) | (np.diff(pitch) != 0))[: len(onset)]
    starts = np.flatnonzero(is_first)
    onset, pitch = onset[starts], pitch[starts]
    largest = [np.maximum.reduceat(column[order], starts) if len(starts) else column for column in (duration, *others)]
    by_pitch = np.lexsort((onset, pitch))
    is_same = np.diff(pitch[by_pitch]) == 0  # as that of the next note
    struck, again = by_pitch[:-1][is_same], by_pitch[1:][is_same]
    largest[0][struck] = np.minimum(largest[0][struck], onset[again] - onset[struck])
    return onset, largest[0], pitch, *largest[1:]


def merged(parts: Iterable[Part], name: str = "") -> Part:
    """One part with the notes of all, such as a piano's two hands, on the first one's program. See :func:`separated`."""
    parts = tuple(parts)
    first = parts[0] if parts else Part()
    return Part(name or first.name, first.program, first.is_drum, separated(note for part in parts for note in part.notes))


def bar_length(numerator: int, denominator: int) -> Fraction:
    """A bar in ticks. A whole number in all metres but those such as 5/32, which do not fit the grid."""
    return Fraction(4 * TICKS * numerator, denominator)


def beat_length(numerator: int, denominator: int) -> int:
    """What is counted in a metre, in ticks: a quarter, or an eighth or a sixteenth, three of them where bars are of threes.

    So it is 12 in 4/4, 3/4 and 2/2, 18 in 6/8 and 12/8, 6 in 3/8 and 5/8.
    """
    note = min(TICKS, max(4 * TICKS // denominator, TICKS // 4))
    return 3 * note if note < TICKS and numerator > 3 and numerator % 3 == 0 else note


def commonest_metre(pieces: Iterable[Piece]) -> tuple[int, int]:
    """The metre that holds for most ticks of all pieces, ``(numerator, denominator)``; 4/4 where there is none.

    Metres whose bars the grid cannot hold (see :func:`bar_length`) do not count.
    """
    ticks: Counter[tuple[int, int]] = Counter()
    for piece in pieces:
        ends = [start for start, _, _ in piece.metres[1:]] + [piece.length]
        for (start, numerator, denominator), end in zip(piece.metres, ends, strict=True):
            if bar_length(numerator, denominator).denominator == 1:
                ticks[numerator, denominator] += max(0, min(end, piece.length) - start)
    return max(ticks, key=lambda metre: ticks[metre], default=(4, 4))


def bar_lines(metres: Iterable[Metre], length: int) -> NDArray[np.int64]:
    """The ticks below ``length`` at which bars begin, int64 ``[bars]``. A change of metre begins a bar, amid another too."""
    changes = list(metres)
    ends = [start for start, _, _ in changes[1:]] + [length]
    lines = []
    for (start, numerator, denominator), end in zip(changes, ends, strict=True):
        bar = bar_length(numerator, denominator)
        count = max(0, -((start - min(end, length)) // bar))
        lines.append(start + np.arange(count) * bar.numerator // bar.denominator)
    return np.unique(np.concatenate(lines)).astype(np.int64)


def position_in_bar(metres: Iterable[Metre], ticks: Any) -> NDArray[np.int64]:
    """How many ticks after its bar line each of ``ticks`` lies (integers >= 0 of any shape), int64 of that shape."""
    at = np.asarray(ticks, np.int64)
    return after_line(bar_lines(metres, int(at.max(initial=0)) + 1), at)


def after_line(lines: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many ticks after the last of the bar ``lines`` each of ``ticks`` lies (any shape), int64 of that shape."""
    position: NDArray[np.int64] = ticks - lines[np.searchsorted(lines, ticks, side="right") - 1]
    return position


def _from_zero(name: str, changes: Any, default: Any) -> tuple[Any, ...]:
    """The changes in order, the first of them at tick 0; of several at one tick the last given counts."""
    at = {}
    for change in changes:
        at[checks.positive_int(f"the tick of {name}", change[0], 0)] = tuple(change)
    if 0 not in at:
        at[0] = default
    return tuple(at[tick] for tick in sorted(at))


def _in_range(name: str, value: object, low: int, high: int) -> None:
    if checks.positive_int(name, value, low) > high:
        raise ValueError(f"{name} must be at most {high}, got {value}")
