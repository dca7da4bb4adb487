"""Conversion between the orders of rows of :class:`Inputs` and time-major arrays, for backends that know no other order."""

from __future__ import annotations

import numpy as np

from .._core import memory
from .._core.arrays import Array
from .._core.checks import plain
from .structs import BATCH_MAJOR, Inputs


class RowOrder:
    """The order of the rows of one call, either batch-major or packed.

    Packed rows are the rows (t, b) with t < lengths[b] of a time-major array, because the lengths do not increase.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._steps: Array | None = None  # bool [T, B]: the packed rows
        if inputs.rows != BATCH_MAJOR:
            assert inputs.lengths is not None
            self._steps = np.arange(inputs.lengths.max(initial=1))[:, None] < inputs.lengths

    def inward(self, rows: Array) -> Array:
        """Return the rows as a contiguous array ``[T, B, ...]``, zero past the lengths."""
        if self._steps is None:
            return plain(rows.swapaxes(0, 1))
        padded = memory.zeros((*self._steps.shape, *rows.shape[1:]), rows.dtype)
        padded[self._steps] = rows
        return padded

    def outward(self, array: Array) -> Array:
        """Return a time-major array in the caller's order, contiguous."""
        return plain(array.swapaxes(0, 1)) if self._steps is None else array[self._steps]
