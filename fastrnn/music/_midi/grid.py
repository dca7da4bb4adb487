r"""Conversion between the ticks of files and of the grid: rounding and swing. Writing adds the swing, reading removes it.

Swing s is the place of an off-beat eighth in its beat, a quarter. The first half of a swung beat is stretched to end there,
and the second half is compressed, so the place x of the grid moves to

.. code-block:: text

    y = 2 s x                    for x in 0..1/2
    y = s + (2 x - 1) (1 - s)    for x in 1/2..1

Sixteenths move to s/2, s and (1+s)/2. A beat with onsets that are not sixteenths, such as triplets, does not swing.

Beats are counted from ``start``, the end of a pickup: after a pickup of an eighth, all beats begin at odd eighths. The notes
of a pickup lie in beats with negative numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..piece import HARDEST, STRAIGHT, TICKS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RESOLUTION = 480  # ticks a quarter in written files: 40 per tick of the grid, fine enough for any swing

# Limits for reading, in beats.
EDGE = 1.5 / TICKS  # a note nearer to a beat than this is on the beat
EARLIEST, LATEST = 0.46, HARDEST + 0.5 / RESOLUTION  # the range of off-beat eighths, with a file's rounding
LEAST = 0.53  # rounding to the grid removes a swing below this
HALF_TICK = 0.5 / TICKS
OFF_GRID = 0.18 / TICKS  # in a file with exact times, a note this far from every tick is swung
FEWEST, ENOUGH = 3, 6  # off-beats that suffice for a swing: if all agree on a place far from every tick; else
# Penalties in nats on triplets, sixteenths and other rhythms in a beat, compared with eighths and dotted eighths.
TRIPLET, SIXTEENTH, OTHER = 3.0, 5.0, 8.0


def on_grid(ticks: Any, per_quarter: int) -> Ints:
    """Convert ticks of a file (integers of any shape) to the nearest ticks of the grid, int64; halves round up."""
    at = np.asarray(ticks, np.int64)
    nearest: Ints = (2 * TICKS * at + per_quarter) // (2 * per_quarter)
    return nearest


def swung(onset: Ints, end: Ints, swing: float, start: int) -> tuple[Ints, Ints]:
    """Convert onsets and ends of one part from ticks of the grid to ticks of a file, and add the swing."""
    onset, end = onset - start, end - start
    half, beats = TICKS // 2, _swinging(onset, end)

    def forth(ticks: Ints) -> Ints:
        beat, place = np.divmod(ticks, TICKS)
        moved = np.where(place <= half, place / half * swing, swing + (place - half) / half * (1 - swing))
        fraction = np.where(np.isin(beat, beats), moved, place / TICKS)
        result: Ints = beat * RESOLUTION + np.rint(fraction * RESOLUTION).astype(np.int64)
        return result + start * (RESOLUTION // TICKS)

    return forth(onset), forth(end)


def _swinging(onsets: Ints, ends: Ints) -> Ints:
    """Return the numbers of the beats in which every onset lies on a sixteenth; beats with triplets are left out."""
    beats = np.unique(np.concatenate([onsets, ends]) // TICKS)
    beat, place = np.divmod(onsets, TICKS)
    return np.setdiff1d(beats, beat[place % (TICKS // 4) != 0])


def heard_swing(onsets: Sequence[Ints], per_quarter: int, start: int = 0) -> tuple[float, float]:
    """Estimate ``swing, spread`` of parts with these onsets, in ticks of a file, for :func:`straightened`.

    An off-beat is the only note (or chord) of a part between two beats. Swing is the median place of the off-beats, to
    three digits, and spread their deviation from it. Swing is STRAIGHT, 0.5, unless all of this holds:

    - The median is in LEAST..LATEST, and three of four off-beats lie within half a tick of it.
    - There are at least as many off-beats as beats with any other notes inside; beats of triplets do not count.
    - If the median is the last note of a triplet, there are at least twice as many off-beats as other beats, triplets
      included, so that a piece in triplets is not taken for a shuffle.
    - There are ENOUGH off-beats, or FEWEST if all have the same place where no straight note lies.
    """
    rows = np.unique(np.concatenate([np.empty((0, 3)), *(_between(part - start, per_quarter) for part in onsets)]), axis=0)
    _, first, last = rows.T
    off = (first >= EARLIEST) & (last <= LATEST) & (last - first <= 2 * HALF_TICK)
    places = (first[off] + last[off]) / 2
    if len(places) < FEWEST:
        return STRAIGHT, 0.0
    swing = round(float(np.median(places)), 3)
    away = np.abs(places - swing)
    triplets = _near(first, 1 / 3) & (_near(last, 1 / 3) | _near(last, 2 / 3))
    others = 2 * np.count_nonzero(~off) if abs(swing - 2 / 3) < OFF_GRID else np.count_nonzero(~off & ~triplets)
    exact = np.ptp(places) * per_quarter <= 1 and abs(swing - round(swing * TICKS) / TICKS) > OFF_GRID
    is_swung = (
        LEAST <= swing <= LATEST
        and (exact or len(places) >= ENOUGH)
        and np.mean(away <= HALF_TICK) >= 0.75
        and len(places) >= others
    )
    if not is_swung:
        return STRAIGHT, 0.0
    return min(swing, HARDEST), max(1.4826 * float(np.median(away)), 0.5 / per_quarter, 0.001)  # as a standard deviation


def straightened(onset: Ints, end: Ints, per_quarter: int, swing: float, spread: float, start: int) -> tuple[Ints, Ints]:
    """Convert onsets and ends of one part from ticks of a file to ticks of the grid, and remove the swing."""
    if swing == STRAIGHT:
        return on_grid(onset, per_quarter), on_grid(end, per_quarter)
    onset, end, first = onset - start, end - start, on_grid(start, per_quarter)
    straight = _straight_beats(onset, per_quarter, swing, spread)

    def back(ticks: Ints) -> Ints:
        beat, rest = np.divmod(ticks, per_quarter)
        place = rest / per_quarter
        moved = np.where(place <= swing, place / swing / 2, 0.5 + (place - swing) / (1 - swing) / 2)
        nearest = beat * TICKS + np.floor(moved * TICKS + 0.5).astype(np.int64)
        return np.maximum(first + np.where(np.isin(beat, straight), on_grid(ticks, per_quarter), nearest), 0)

    return back(onset), back(end)


def straightened_words(
    ticks: Ints, parts: Sequence[Ints], per_quarter: int, swing: float, spread: float, start: int
) -> Ints:
    """Convert the places of words from ticks of a file ``[N]`` to the grid; ``parts`` are the onsets of each part.

    Some programs swing chord symbols along with the notes, and others do not. So in a beat in which some part swings, a
    swung word moves with the notes, and a straight one stays.
    """
    nearest = on_grid(ticks, per_quarter)
    if swing == STRAIGHT:
        return nearest
    moved = [part - start for part in parts]
    beats = [np.setdiff1d(_between(p, per_quarter)[:, 0], _straight_beats(p, per_quarter, swing, spread)) for p in moved]
    straight, _ = straightened(ticks, ticks, per_quarter, swing, spread, start)
    return np.where(np.isin((ticks - start) // per_quarter, np.concatenate(beats)), straight, nearest)


def _straight_beats(onset: Ints, per_quarter: int, swing: float, spread: float) -> Ints:
    """Return the numbers of the beats that do not swing: their onsets are more likely triplets or others on the grid.

    The likelihood of each rhythm follows from the distance of the onsets from its places, with normal errors of standard
    deviation ``spread``.
    """
    beat, rest = np.divmod(np.unique(onset), per_quarter)
    beats, of = np.unique(beat, return_inverse=True)

    def misfit(places: Any) -> tuple[Floats, Ints]:
        distance = np.abs((rest / per_quarter)[:, None] - places)
        return np.bincount(of, distance.min(1) ** 2, len(beats)) / (2 * spread**2), distance.argmin(1)

    swings, nearest = misfit([0, swing / 2, swing, (1 + swing) / 2, 1])
    swings += SIXTEENTH * (np.bincount(of, nearest == 1, len(beats)) > 0)
    triplets, others = (misfit(np.arange(parts + 1) / parts)[0] for parts in (3, TICKS))
    return beats[np.minimum(triplets + TRIPLET, others + OTHER) < swings]


def _between(onset: Ints, per_quarter: int) -> Floats:
    """Return rows ``[beats, 3]`` for beats with onsets inside: its number, and the first and last such place."""
    beat, rest = np.divmod(np.unique(onset), per_quarter)
    place = rest / per_quarter
    inside = (place > EDGE) & (place < 1 - EDGE)
    beat, place = beat[inside], place[inside]
    beats, first = np.unique(beat, return_index=True)
    last = np.searchsorted(beat, beats, side="right") - 1
    return np.stack([beats, place[first], place[last]], axis=1)


def _near(places: Any, place: float) -> Any:
    return np.abs(places - place) < HALF_TICK
