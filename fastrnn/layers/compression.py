"""The error of a compressed layer's outputs, measured on data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._core.arrays import Array
from ._recurrent.base import Recurrent


class CompressionError(NamedTuple):
    """Differences of a compressed layer's y from the original's.

    Attributes
    ----------
    max
        The largest absolute difference.
    rms
        The root of the mean square of the differences.
    relative
        ``rms`` divided by the root of the mean square of the original's y.
    """

    max: float
    rms: float
    relative: float


def compression_error(
    layer: Recurrent, compressed: Recurrent, x: Array, state: Any = None, lengths: Any = None
) -> CompressionError:
    """Run both layers on data and return the differences of their y. Raises the errors of the call.

    Parameters
    ----------
    layer, compressed
        The original, and what its ``compress`` returned.
    x, state, lengths
        As for the layers' call.
    """
    y, _ = layer(x, state, lengths)
    other, _ = compressed(x, state, lengths)
    difference = np.abs(other.astype(np.float64) - y)
    rms, size = float(np.sqrt(np.mean(difference**2))), float(np.sqrt(np.mean(y.astype(np.float64) ** 2)))
    return CompressionError(float(difference.max(initial=0)), rms, rms / size if size else rms)
