r"""Pitches as steps from the last one and as degrees of the chord: what makes a line the same line in another key.

A melody moved up by a tone is the same melody, and a model over pitches has to learn that twelve times over. These two
layers say it to begin with: :class:`Relation` tells where the line stands in its chord, and :class:`PitchLogits` lets the
model speak of intervals and of degrees. With p_1 and p_2 the last two pitches, r the chord's root, c its pitch classes:

.. code-block:: text

    relation = c_{r+k} for k = 0..11;  onehot((p_1 - r) mod 12);  onehot(p_1 - p_2, cut to -12..12);  (p_1 - low) / P
    logit(p) = a_p + s_{p - p_1} + d_{(p - r) mod 12}            for a pitch p; logit(w) = a_w for another token w

Where there is no last pitch or no chord, its terms are zero. Letters as in :mod:`fastrnn.music.jazz_model`; ``P`` pitches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...layers.base import Layer
from ..vocabulary import PartVocabulary

Array = NDArray[Any]

WIDEST = 12  # the interval that stands for all that are wider
RELATION = 12 + 12 + (2 * WIDEST + 1) + 1  # features


class Relation(Layer):
    """``relation [...,50] = layer(chord [...,24], last [...], before [...])``, where pitches are 0..P-1, -1 for none.

    Nothing in it is learned and no gradient goes back: chord is an input.
    """

    pointwise = True

    def __init__(self, pitches: int, low: int) -> None:
        self.pitches, self.low = pitches, low

    def __call__(self, chord: Array, last: Array, before: Array) -> Array:
        """The features; see the module."""
        root, known = _roots(chord)
        result = np.zeros((*last.shape, RELATION), chord.dtype)
        turned = (root[..., None] + np.arange(12)) % 12
        result[..., :12] = np.take_along_axis(chord[..., :12], turned, -1)
        heard = last >= 0
        degree = (last + self.low - root) % 12
        _mark(result, 12 + degree, heard & known)
        interval = np.clip(last - before, -WIDEST, WIDEST) + WIDEST
        _mark(result, 24 + interval, heard & (before >= 0))
        result[..., -1] = np.where(heard, last / self.pitches, 0)
        return result

    def forward(self, chord: Array, last: Array, before: Array) -> tuple[Array, Callable[[Array], Any]]:
        """As the call, and a backward that gives zeros for chord."""
        return self(chord, last, before), lambda dy: (np.zeros_like(chord), None, None)


class PitchLogits(Layer):
    """``logits [...,V] = layer(raw [...,V+2P-1+12], chord [...,24], last [...])``: raw holds a, s and d side by side.

    V tokens, of which those from ``first`` on are the P pitches from ``low`` upwards. There is nothing to learn in it.
    """

    pointwise = True

    def __init__(self, size: int, first: int, pitches: int, low: int) -> None:
        self.size, self.first, self.pitches, self.low = size, first, pitches, low

    @classmethod
    def of(cls, vocabulary: PartVocabulary) -> PitchLogits:
        """That of a vocabulary."""
        return cls(len(vocabulary), vocabulary.first_pitch, vocabulary.pitches, vocabulary.low)

    @property
    def inputs(self) -> int:
        """The size of raw's last axis."""
        return self.size + 2 * self.pitches - 1 + 12

    def __call__(self, raw: Array, chord: Array, last: Array) -> Array:
        """The logits; see the module."""
        return self.forward(raw, chord, last)[0]

    def forward(self, raw: Array, chord: Array, last: Array) -> tuple[Array, Callable[[Array], Any]]:
        """The logits, and a backward that gives draw, zeros for chord."""
        V, P = self.size, self.pitches
        pitches = slice(self.first, self.first + P)
        root, known = _roots(chord)
        heard = (last >= 0)[..., None]
        steps = np.arange(P) - np.maximum(last, 0)[..., None] + P - 1  # of each pitch, among s
        degrees = (np.arange(P) + self.low - root[..., None]) % 12  # among d
        logits = raw[..., :V].copy()
        logits[..., pitches] += np.take_along_axis(raw[..., V : V + 2 * P - 1], steps, -1) * heard
        logits[..., pitches] += np.take_along_axis(raw[..., V + 2 * P - 1 :], degrees, -1) * known[..., None]

        def backward(dy: Array) -> tuple[Array, Array, None]:
            draw = np.zeros_like(raw)
            draw[..., :V] = dy
            of_pitches = dy[..., pitches]
            np.put_along_axis(draw[..., V : V + 2 * P - 1], steps, of_pitches * heard, -1)  # a step is that of one pitch
            by_class = np.zeros((*dy.shape[:-1], 12), dy.dtype)  # of the pitches low + k, low + 12 + k ...
            for start in range(0, P, 12):
                octave = of_pitches[..., start : start + 12]
                by_class[..., : octave.shape[-1]] += octave
            turned = (np.arange(12) + root[..., None] - self.low) % 12
            draw[..., V + 2 * P - 1 :] = np.take_along_axis(by_class, turned, -1) * known[..., None]
            return draw, np.zeros_like(chord), None

        return logits, backward


def _roots(chord: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The roots ``[...]``, and whether there is a chord at all."""
    roots = chord[..., 12:]
    known: NDArray[np.bool_] = np.any(roots, axis=-1)
    return roots.argmax(-1), known


def _mark(result: Array, places: Array, where: Array) -> None:
    """Set ones at ``places [...]`` of the last axis, ``where`` they count."""
    np.put_along_axis(result, places[..., None], where[..., None], -1)
