r"""Between the time of files and the grid: rounding, and swing, which is put on by writing and taken off by reading.

Swing s is where in its beat, a quarter, an off-beat eighth comes. A beat that swings is stretched up to there and pressed
behind it, so that the place x of the grid comes at

.. code-block:: text

    y = 2 s x                    for x in 0..1/2
    y = s + (2 x - 1) (1 - s)    for x in 1/2..1

and sixteenths at s/2, s and (1+s)/2. A beat in which a part has triplets, or anything else but sixteenths, does not swing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..piece import HARDEST, STRAIGHT, TICKS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RESOLUTION = 480  # ticks a quarter of the files that are written: 40 a tick of the grid, and fine enough for any swing

# Of what is read, in beats.
EDGE = 1.5 / TICKS  # what is nearer to a beat than this is struck on the beat
EARLIEST, LATEST = 0.46, HARDEST + 0.5 / RESOLUTION  # where off-beat eighths are looked for, as a file rounds them
LEAST = 0.53  # a swing below this comes to the grid by rounding
HALF_TICK = 0.5 / TICKS
OFF_GRID = 0.18 / TICKS  # what is further from every tick is no straight note in a file without errors
FEWEST, ENOUGH = 3, 6  # off-beats: that agree to a tick of the file and lie off the grid; of any kind
# How much less likely than eighths and dotted eighths a beat is to have these, in nats.
TRIPLET, SIXTEENTH, OTHER = 3.0, 5.0, 8.0


def on_grid(ticks: Any, per_quarter: int) -> Ints:
    """Ticks of a file (integers of any shape) as ticks of the grid, int64: the nearest, halves up."""
    at = np.asarray(ticks, np.int64)
    nearest: Ints = (2 * TICKS * at + per_quarter) // (2 * per_quarter)
    return nearest


def swung(ticks: Any, beats: Any, swing: float) -> Ints:
    """Ticks of the grid as ticks of a file, int64, of the same shape; ``beats`` are the numbers of the beats that swing."""
    at = np.asarray(ticks, np.int64)
    beat, place = np.divmod(at, TICKS)
    half = TICKS // 2
    moved = np.where(place <= half, place / half * swing, swing + (place - half) / half * (1 - swing))
    fraction = np.where(np.isin(beat, np.asarray(beats, np.int64)), moved, place / TICKS)
    result: Ints = beat * RESOLUTION + np.rint(fraction * RESOLUTION).astype(np.int64)
    return result


def swinging(onsets: Ints, ends: Ints) -> Ints:
    """The numbers of the beats in which every onset lies on a sixteenth: not those with triplets."""
    beats = np.unique(np.concatenate([onsets, ends]) // TICKS)
    beat, place = np.divmod(onsets, TICKS)
    return np.setdiff1d(beats, beat[place % (TICKS // 4) != 0])


def heard_swing(onsets: Sequence[Ints], per_quarter: int) -> tuple[float, float]:
    """``swing, spread`` of parts whose onsets are ``onsets``, ticks of a file: what :func:`straightened` takes.

    Off-beats are what is struck between two beats where a part has nothing else there. Swing is their median, in
    thousandths, and spread how far from it they lie. It is STRAIGHT, 0.5, unless the median is in LEAST..LATEST, three of
    four lie within half a tick of it, and there are at least as many as there are other beats with anything between them
    and the next, triplets aside. Where the median is a triplet's last note there must be twice as many, with triplets among
    the others, so that a piece of them is no shuffle. There must be ENOUGH of them, or FEWEST that are all at one tick where
    no straight note is.
    """
    rows = np.unique(np.concatenate([np.empty((0, 3)), *(_between(part, per_quarter) for part in onsets)]), axis=0)
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


def straightened(onset: Ints, end: Ints, per_quarter: int, swing: float, spread: float) -> tuple[Ints, Ints]:
    """Onsets and ends of one part, ticks of a file, as ticks of the grid, without the swing that it is played with."""
    if swing == STRAIGHT:
        return on_grid(onset, per_quarter), on_grid(end, per_quarter)
    straight = _straight_beats(onset, per_quarter, swing, spread)

    def back(ticks: Ints) -> Ints:
        beat, rest = np.divmod(ticks, per_quarter)
        place = rest / per_quarter
        moved = np.where(place <= swing, place / swing / 2, 0.5 + (place - swing) / (1 - swing) / 2)
        nearest = beat * TICKS + np.floor(moved * TICKS + 0.5).astype(np.int64)
        return np.where(np.isin(beat, straight), on_grid(ticks, per_quarter), nearest)

    return back(onset), back(end)


def straightened_words(ticks: Ints, parts: Sequence[Ints], per_quarter: int, swing: float, spread: float) -> Ints:
    """Where words stand, ``[N]`` ticks of a file, as ticks of the grid; ``parts`` are the onsets of what is played there.

    Some programs move chord symbols along with the notes that they swing, and others do not: in a beat in which a part
    swings a word that is swung comes to where the notes do, and one that is straight stays.
    """
    nearest = on_grid(ticks, per_quarter)
    if swing == STRAIGHT:
        return nearest
    beats = [np.setdiff1d(_between(p, per_quarter)[:, 0], _straight_beats(p, per_quarter, swing, spread)) for p in parts]
    straight, _ = straightened(ticks, ticks, per_quarter, swing, spread)
    return np.where(np.isin(ticks // per_quarter, np.concatenate(beats)), straight, nearest)


def _straight_beats(onset: Ints, per_quarter: int, swing: float, spread: float) -> Ints:
    """The numbers of the beats that do not swing: in which a part's onsets are likelier triplets, or anything on the grid.

    How likely they are tells their distance from the places of each kind, with errors that are normal with ``spread``.
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
    """Of each beat in which something is struck behind it and before the next: its number, the first and last such place."""
    beat, rest = np.divmod(np.unique(onset), per_quarter)
    place = rest / per_quarter
    inside = (place > EDGE) & (place < 1 - EDGE)
    beat, place = beat[inside], place[inside]
    beats, first = np.unique(beat, return_index=True)
    last = np.searchsorted(beat, beats, side="right") - 1
    return np.stack([beats, place[first], place[last]], axis=1)


def _near(places: Any, place: float) -> Any:
    return np.abs(places - place) < HALF_TICK
