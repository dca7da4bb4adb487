"""Padding: the steps past the ends of a batch's sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..._core import memory
from ..._core.arrays import Array
from ...masks import sequence_mask

if TYPE_CHECKING:
    from ..base import Layer


class Padding:
    """Steps past the lengths, int64 ``[B]`` in 0..T, in arrays ``[T, B, ...]``, or ``[B, T, ...]`` with ``batch_first``.

    Its methods return copies.
    """

    def __init__(self, lengths: Array, T: int, batch_first: bool = False) -> None:
        outside = ~sequence_mask(lengths, T)
        self._outside = outside.T if batch_first else outside
        # A sequence without steps is filled with a step of the longest one.
        owner = np.where(lengths > 0, np.arange(len(lengths)), lengths.argmax())
        last = lengths[owner] - 1, owner
        self._batch_axis = 0 if batch_first else 1
        self._last = last[::-1] if batch_first else last
        self._has_steps = bool(lengths.any())

    def cleared(self, array: Array) -> Array:
        """Return a copy of an output or gradient with zeros in the padding (-1 for ids)."""
        return self._with(array, padding_value(array))

    def filled(self, array: Array) -> Array:
        """Return a copy of an input with each sequence's last step repeated in its padding (-1 for ids).

        Zeros there could produce NaN: a logarithm, for example, is infinite at zero, and infinity times a zero gradient is
        NaN. If no sequence has a step, the padding is 1/2, where logarithms, reciprocals and inverse sigmoids are finite.
        """
        if array.dtype.kind != "f":
            return self.cleared(array)
        if not self._has_steps:
            return self._with(array, 0.5)
        return self._with(array, array[self._last][np.nonzero(self._outside)[self._batch_axis]])

    def _with(self, array: Array, values: Any) -> Array:
        copy = memory.empty(array.shape, array.dtype)
        np.copyto(copy, array)
        copy[self._outside] = values
        return copy


def padding_value(array: Array) -> int:
    """Return the value of padding: -1, no token, for integers that can be negative, and 0 for any other dtype."""
    return -1 if array.dtype.kind == "i" else 0


def require_defined_on_padding(layer: Layer) -> None:
    """Raise ValueError unless the layer declares how it handles padding: ``pointwise`` or ``takes_lengths``."""
    if not (layer.pointwise or layer.takes_lengths):
        raise ValueError(
            f"{layer.name or type(layer).__name__} cannot have lengths: it would read padding. Set pointwise = True "
            "if it computes each time step alone, or takes_lengths = True if its call and forward take lengths=None"
        )
