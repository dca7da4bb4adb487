"""Where the music is in its form, and how long a phrase has lasted: features for each token.

A form repeats a chorus. Its length is found from the chords, so it is known for files and for changes alike. If the bars are
a multiple of four and one more, the last bar is a closing bar, which belongs to no chorus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..piece import TICKS

GROUP, GROUPS = 4, 8  # bars of a group; the last group of a chorus stands for all later ones
LEFT, CHORUSES = 8, 3  # bars and choruses left: as many or more are one feature
BAR = GROUP + GROUPS + (LEFT + 1) + (CHORUSES + 1)  # features of a bar
AGES = 12  # two quarters each: the last one stands for all longer ages
PHRASE = AGES + 1
FORM = BAR + PHRASE

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


def chorus_of(bars: Sequence[object]) -> tuple[int, bool]:
    """Return the number of bars in a chorus, and whether the form has a closing bar.

    ``bars`` are the chords of each bar, to be compared. The chorus is the shortest of four bars or more that fills the form
    by repetition.
    """
    closing = len(bars) > GROUP and len(bars) % GROUP == 1
    body = list(bars[: len(bars) - closing])
    for length in range(GROUP, len(body)):
        if len(body) % length == 0 and body[length:] == body[:-length]:
            return length, closing
    return len(body), closing


def bars_of(bar_ticks: Ints, chord_ticks: Ints, symbols: Sequence[str]) -> list[tuple[object, ...]]:
    """Return for each bar its chords, pairs (ticks after the bar line, symbol), beginning with the chord that sounds on."""
    ends = np.append(bar_ticks[1:], np.iinfo(np.int64).max)
    first, last = np.searchsorted(chord_ticks, bar_ticks, "right"), np.searchsorted(chord_ticks, ends)
    found: list[tuple[object, ...]] = []
    for bar, i, j in zip(bar_ticks.tolist(), first.tolist(), last.tolist(), strict=True):
        later = ((int(chord_ticks[k]) - bar, symbols[k]) for k in range(i, j))
        found.append((symbols[i - 1] if i else "", *later))
    return found


def bar_features(bars: Sequence[object]) -> NDArray[np.uint8]:
    """Return the features of each bar of a form, 0 or 1, uint8 ``[bars,BAR]``.

    These are, one-hot: the bar's place in a group of four, the group in the chorus, the bars left before the last one, and
    the choruses left. Without a closing bar the last two are zero, because then the music may go on.
    """
    chorus, closing = chorus_of(bars)
    count = len(bars)
    result = np.zeros((count, BAR), np.uint8)
    bar = np.arange(count)
    within = bar % max(1, chorus)
    result[bar, within % GROUP] = 1
    result[bar, GROUP + np.minimum(within // GROUP, GROUPS - 1)] = 1
    if closing:
        left = count - 1 - bar
        result[bar, GROUP + GROUPS + np.minimum(left, LEFT)] = 1
        choruses = np.maximum(0, (left - 1) // max(1, chorus))
        result[bar, GROUP + GROUPS + LEFT + 1 + np.minimum(choruses, CHORUSES)] = 1
        result[-1, : GROUP + GROUPS] = 0
    return result


def phrase_features(at: Ints, done: Ints, onset: Ints, duration: Ints) -> Floats:
    """Return the features of the phrase at the ticks ``at [N]``, before which the first ``done [N]`` notes are complete.

    float32 ``[N,PHRASE]``: the age of the phrase in two quarters each, one-hot, and the silence since the last note in
    quarters, divided by 4 and cut to 0..2. In a silence of a quarter or more there is no phrase, and the age is zeros. Notes
    have ``onset`` and ``duration``, ``[notes]``, sorted by onset.
    """
    result = np.zeros((len(at), PHRASE), np.float32)
    if not len(onset):
        return result
    ends = np.maximum.accumulate(onset + duration)
    begins = np.append(True, onset[1:] - ends[:-1] >= TICKS)
    starts = np.maximum.accumulate(np.where(begins, onset, 0))
    last = np.maximum(done - 1, 0)
    silence, age = np.maximum(0, at - ends[last]), at - starts[last]
    sounding = (done > 0) & (silence < TICKS)
    result[np.flatnonzero(sounding), np.minimum(age[sounding] // (2 * TICKS), AGES - 1)] = 1
    result[:, AGES] = np.where(done > 0, np.minimum(silence / (4 * TICKS), 2), 0)
    return result
