r"""Layers that express pitches as intervals from the last pitch and as degrees of the chord.

A transposed melody is the same melody, but a model over pitches has to learn it in each key. These two layers build that in:
:class:`Relation` describes the last pitches relative to the chord, and :class:`PitchLogits` lets the model score intervals
and degrees. With p_1 the last pitch, p_2 the one before, r the chord's root and c its pitch classes:

.. code-block:: text

    relation = c_{r+k} for k = 0..11;  onehot((p_1 - r) mod 12);  onehot(p_1 - p_2, cut to -12..12);  (p_1 - low) / P
    logit(p) = a_p + s_{p - p_1} + d_{(p - r) mod 12}            for a pitch p; logit(w) = a_w for another token w

Terms of a missing pitch or chord are zero. Letters are those of :mod:`fastrnn.music.jazz_model`; ``P`` is the number of
pitches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core.arrays import Array
from ...layers.base import Layer
from ..vocabulary import PartVocabulary

WIDEST = 12  # semitones; wider intervals are clipped to it
RELATION = 12 + 12 + (2 * WIDEST + 1) + 1  # features


class Relation(Layer):
    """``relation [...,50] = layer(chord [...,24], last [...], before [...])``; pitches are 0..P-1, -1 for none.

    The layer has no parameters and passes no gradient back.
    """

    pointwise = True

    def __init__(self, pitches: int, low: int) -> None:
        self.pitches, self.low = pitches, low

    def __call__(self, chord: Array, last: Array, before: Array) -> Array:
        """Return the features; see the module."""
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
        """Return the features, and a backward function that gives zeros for chord."""
        return self(chord, last, before), lambda dy: (np.zeros_like(chord), None, None)


class PitchLogits(Layer):
    """``logits [...,V] = layer(raw [...,V+2P-1+12], chord [...,24], last [...])``; raw is a, s and d, concatenated.

    Of the V tokens, the P from ``first`` on are pitches, from ``low`` upwards. The layer has no parameters.
    """

    pointwise = True

    def __init__(self, size: int, first: int, pitches: int, low: int) -> None:
        self.size, self.first, self.pitches, self.low = size, first, pitches, low

    @classmethod
    def of(cls, vocabulary: PartVocabulary) -> PitchLogits:
        """Make the layer for a vocabulary."""
        return cls(len(vocabulary), vocabulary.first_pitch, vocabulary.pitches, vocabulary.low)

    @property
    def inputs(self) -> int:
        """The size of raw's last axis."""
        return self.size + 2 * self.pitches - 1 + 12

    def __call__(self, raw: Array, chord: Array, last: Array) -> Array:
        """Return the logits; see the module."""
        return self.forward(raw, chord, last)[0]

    def forward(self, raw: Array, chord: Array, last: Array) -> tuple[Array, Callable[[Array], Any]]:
        """Return the logits, and a backward function that gives draw, and zeros for chord."""
        V, P = self.size, self.pitches
        pitches = slice(self.first, self.first + P)
        root, known = _roots(chord)
        heard = (last >= 0)[..., None]
        steps = np.arange(P) - np.maximum(last, 0)[..., None] + P - 1  # of each pitch: its index into s
        degrees = (np.arange(P) + self.low - root[..., None]) % 12  # of each pitch: its index into d
        logits = raw[..., :V].copy()
        logits[..., pitches] += np.take_along_axis(raw[..., V : V + 2 * P - 1], steps, -1) * heard
        logits[..., pitches] += np.take_along_axis(raw[..., V + 2 * P - 1 :], degrees, -1) * known[..., None]

        def backward(dy: Array) -> tuple[Array, Array, None]:
            draw = np.zeros_like(raw)
            draw[..., :V] = dy
            of_pitches = dy[..., pitches]
            np.put_along_axis(draw[..., V : V + 2 * P - 1], steps, of_pitches * heard, -1)  # each step has one pitch
            by_class = np.zeros((*dy.shape[:-1], 12), dy.dtype)  # sums over the pitches low + k, low + 12 + k ...
            for start in range(0, P, 12):
                octave = of_pitches[..., start : start + 12]
                by_class[..., : octave.shape[-1]] += octave
            turned = (np.arange(12) + root[..., None] - self.low) % 12
            draw[..., V + 2 * P - 1 :] = np.take_along_axis(by_class, turned, -1) * known[..., None]
            return draw, np.zeros_like(chord), None

        return logits, backward


def _roots(chord: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return the roots ``[...]``, and a mask that is False where there is no chord."""
    roots = chord[..., 12:]
    known: NDArray[np.bool_] = np.any(roots, axis=-1)
    return roots.argmax(-1), known


def _mark(result: Array, places: Array, where: Array) -> None:
    """Write ``where``, 1 or 0, at ``places [...]`` of the last axis."""
    np.put_along_axis(result, places[..., None], where[..., None], -1)
