r"""Layers that let the model repeat what was played some bars ago.

:mod:`fastrnn.music._model.memory` finds the tokens that repeat it: for each lag r_{2k}, the shift, duration, or pitch that
moves as the melody did, and r_{2k+1}, the pitch of the same key. :class:`Remembered` describes these tokens in the same
way in every key, and :class:`RepeatLogits` lets the model raise or lower their scores. With p_1 the last pitch and c the
chord's pitch classes:

.. code-block:: text

    remembered = for each k: r_{2k} is known;  it is the shift 0;  ticks / 12 of a shift or duration;
                 (r - p_1) / 12 and c_r, of the two pitches
    logit(w)  += sum over j with r_j = w of g_j             for the gates g [2K]

Terms of an unknown token are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ...layers.base import Layer
from ..piece import TICKS
from ..vocabulary import PITCH, PartVocabulary

REMEMBERED = 7  # features for each lag


class Remembered(Layer):
    """``remembered [...,7K] = layer(recalled [...,2K], chord [...,24], last [...])``; tokens are -1 if unknown.

    The layer has no parameters and passes no gradient back.
    """

    pointwise = True

    def __init__(self, vocabulary: PartVocabulary) -> None:
        self.first, self.low = vocabulary.first_pitch, vocabulary.low
        is_pitch = np.append(vocabulary.kinds() == PITCH, False)
        self._is_pitch = is_pitch  # the last element is that of -1
        self._quarters = np.where(is_pitch, 0, np.append(vocabulary.values(), 0) / TICKS)

    def __call__(self, recalled: Array, chord: Array, last: Array) -> Array:
        """Return the features; see the module."""
        moves, same = recalled[..., ::2], recalled[..., 1::2]
        parts = [moves >= 0, moves == 0, self._quarters[moves]]
        for tokens in (moves, same):
            pitch = tokens - self.first
            heard = self._is_pitch[tokens] & (last >= 0)[..., None]
            parts.append(np.where(heard, (pitch - last[..., None]) / 12, 0))
            tone = np.take_along_axis(chord[..., :12], (pitch + self.low) % 12, -1)
            parts.append(np.where(self._is_pitch[tokens], tone, 0))
        return np.concatenate(parts, -1, dtype=chord.dtype, casting="unsafe")

    def forward(self, recalled: Array, chord: Array, last: Array) -> tuple[Array, Callable[[Array], Any]]:
        """Return the features, and a backward function that gives zeros for chord."""
        return self(recalled, chord, last), lambda dy: (None, np.zeros_like(chord), None)


class RepeatLogits(Layer):
    """``y [...,V] = layer(logits [...,V], gates [...,2K], recalled [...,2K])``; the layer has no parameters."""

    pointwise = True

    def __call__(self, logits: Array, gates: Array, recalled: Array) -> Array:
        """Return the logits; see the module."""
        return self.forward(logits, gates, recalled)[0]

    def forward(self, logits: Array, gates: Array, recalled: Array) -> tuple[Array, Callable[[Array], Any]]:
        """Return the logits, and a backward function that gives dlogits and dgates."""
        known = recalled >= 0
        where = (*np.nonzero(known)[:-1], recalled[known])
        y = logits.copy()
        np.add.at(y, where, gates[known])

        def backward(dy: Array) -> tuple[Array, Array, None]:
            dgates = np.zeros_like(gates)
            dgates[known] = dy[where]
            return dy, dgates, None

        return y, backward
