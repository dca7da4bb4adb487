"""How often bars of songs repeat earlier ones, and a plan of such bars for a solo.

A bar's first token is the first that stands in it. Lags are tried from the nearest on. A bar may repeat the one k bars ago
if its first token has a counterpart there (:func:`fastrnn.music._model.memory.recalled`), and it does if most of its tokens
repeat. It is counted apart whether the bar begins after a rest, because a motif mostly returns there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..piece import TICKS
from ..vocabulary import PITCH, PartVocabulary
from .batching import Line
from .memory import LAGS, K, form_features, moments, recalled, repeats

ENOUGH = 0.8  # the share of a bar's tokens that repeat another bar, from which on it counts as repeated
FEWEST = 7  # tokens of a bar that counts: more than two notes
BONUS = 7.0  # added to the logit of a token that repeats, in a bar that is to repeat
# A line that follows its own errors has fewer chord tones on strong beats than the songs, and more rests. So these are added
# to the logits of those tones, and (for one note at a time) of waits of a quarter or longer.
STRONG, WAIT = 0.7, -0.15
# Waits and durations of one note at a time lose this part of the tail that top_p cuts off pitches: a rare pitch is often a
# wrong one, but a rare duration is only rare, because the grammar and the places in a beat keep it right.
TAIL = 0.2

Habits = NDArray[np.float64]
Ints = NDArray[np.int64]


def rested(form: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return whether a rest of a quarter lies before each token; the last column of ``form [N,FORM]`` is the silence."""
    silent: NDArray[np.bool_] = form[:, -1] >= TICKS / (4 * TICKS)
    return silent


def may_repeat(found: Ints) -> NDArray[np.bool_]:
    """Return for each lag whether there is a token that repeats, from ``found [...,2K]``, bool ``[...,K]``."""
    known: NDArray[np.bool_] = np.maximum(found[..., ::2], found[..., 1::2]) >= 0
    return known


def habits_of(lines: Iterable[Line], vocabulary: PartVocabulary) -> Habits:
    """Return the share of bars that repeat the bar ``LAGS[k]`` bars ago among those that may, float64 ``[2,K]``.

    The second row is that of bars after a rest. Bars that repeat a nearer one, and bars of two notes or fewer, do not count.
    """
    may, do = np.zeros((2, K)), np.zeros((2, K))
    for line in lines:
        ids = np.asarray(line.ids, np.int64)
        moment, notes = moments(ids, vocabulary)
        found = recalled(moment, notes, line.bars, vocabulary)
        after_rest = rested(form_features(moment, notes, line.bars, line.places)).astype(int)
        bar = np.searchsorted(line.bars, moment.at, "right") - 1
        for first, end in _bars(bar):
            share = repeats(ids[first:end], found[first:end]).mean(0)
            known = may_repeat(found[first])
            for k in np.flatnonzero(known).tolist() if end - first >= FEWEST else ():
                may[after_rest[first], k] += 1
                if share[k] >= ENOUGH:
                    do[after_rest[first], k] += 1
                    break
    habits: Habits = do / np.maximum(1, may)
    return habits


def _bars(bar: Ints) -> Iterable[tuple[int, int]]:
    """Return the first token and the end of each bar with tokens, given the bar of each token."""
    starts = np.flatnonzero(np.diff(bar, prepend=-1))
    return zip(starts.tolist(), [*starts[1:].tolist(), len(bar)], strict=True)


class Plan:
    """The bars that a solo is to repeat, drawn bar by bar with the probabilities of ``habits``."""

    def __init__(
        self, habits: Habits, bars: Ints, roots: Ints, vocabulary: PartVocabulary, rng: np.random.Generator
    ) -> None:
        self._habits, self._bars, self._roots, self._rng = habits, bars, roots, rng
        self._polyphonic = vocabulary.polyphonic
        self._pitches = range(vocabulary.first_pitch, vocabulary.first_duration)
        self._bar, self._lag = -1, -1
        self._fresh = True  # no pitch of the bar was chosen yet

    def favour(self, logits: NDArray[Any], due: int, at: int, found: Ints, after_rest: bool) -> None:
        """Raise the logits ``[V]`` of the token that repeats, if the bar is to repeat one.

        The next token is of kind ``due`` at tick ``at``, and ``found [2K]`` are the recalled tokens. The first pitch of a
        bar moves as the chord's root has moved since, the later ones as the melody did.
        """
        bar = int(np.searchsorted(self._bars, at, "right")) - 1
        if bar != self._bar:
            self._bar, self._fresh = bar, True
            self._lag = self._drawn(may_repeat(found) & self._suits(bar), self._habits[int(after_rest)])
        if self._lag < 0:
            return
        token = int(found[2 * self._lag])
        if due == PITCH and self._fresh:
            self._fresh = False
            token = self._moved(int(found[2 * self._lag + 1]), bar)
        if token >= 0:
            logits[token] += BONUS

    def _moved(self, token: int, bar: int) -> int:
        """Return the token of a pitch, moved as the root has moved by the ``bar``, up or down by the smaller interval."""
        move = int(self._roots[bar] - self._roots[bar - LAGS[self._lag]] + 5) % 12 - 5
        near = (token + move, token + move - 12, token + move + 12)
        return next((pitch for pitch in near if pitch in self._pitches), token)

    def _suits(self, bar: int) -> NDArray[np.bool_]:
        """Return for each lag whether the bar may repeat: two hands repeat only over the same root, a line over any."""
        earlier = np.maximum(bar - np.array(LAGS), 0)
        same: NDArray[np.bool_] = self._roots[earlier] == self._roots[bar]
        return same if self._polyphonic else np.ones(K, np.bool_)

    def _drawn(self, known: NDArray[np.bool_], shares: Habits) -> int:
        """Draw the number of the lag to repeat, -1 for none."""
        draws = self._rng.random(K)
        return next((k for k in range(K) if known[k] and draws[k] < shares[k]), -1)
