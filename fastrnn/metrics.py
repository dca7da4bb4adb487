"""Figures of merit, ``metric(outputs, targets, mask=None) -> float``: means over the positions that count.

``targets`` are class ids ``[...]`` beside ``outputs [..., V]``, where -100 does not count, or numbers of the outputs' shape.
``mask`` is bool, True where a position counts, of the shape of the leading axes; None counts all. NaN where nothing counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import checks
from .losses import IGNORED

Array = NDArray[Any]


def counted(targets: Array, mask: Array | None = None) -> Array | None:
    """Where a position counts: the mask, and for class ids no -100. None where all do."""
    if targets.dtype.kind not in "iu":
        return mask
    kept: Array = targets != IGNORED
    return kept if mask is None else kept & mask


def accuracy(outputs: Array, targets: Array, mask: Array | None = None) -> float:
    """How often the largest of ``outputs [..., V]`` is at the class id ``targets [...]``.

    For targets of numbers (0 or 1) of the outputs' shape: :func:`binary_accuracy`.
    """
    if targets.dtype.kind == "f":
        return binary_accuracy(outputs, targets, mask)
    if outputs.shape[:-1] != targets.shape:
        raise ValueError(f"targets must have the shape {outputs.shape[:-1]}, got {checks.describe(targets)}")
    return _mean(outputs.argmax(axis=-1) == targets, counted(targets, mask))


def binary_accuracy(outputs: Array, targets: Array, mask: Array | None = None) -> float:
    """How often a logit is above 0 just where its target, of the same shape, is above 0.5."""
    _same_shape(outputs, targets)
    return _mean((outputs > 0) == (targets > 0.5), mask)


def mean_absolute_error(outputs: Array, targets: Array, mask: Array | None = None) -> float:
    """The mean of ``|outputs - targets|``, of one shape."""
    _same_shape(outputs, targets)
    return _mean(np.abs(outputs - targets), mask)


def _same_shape(outputs: Array, targets: Array) -> None:
    if outputs.shape != targets.shape:
        raise ValueError(f"targets must have the shape of the outputs, {outputs.shape}, got {checks.describe(targets)}")


def _mean(values: Array, mask: Array | None) -> float:
    kept = values if mask is None else values[mask]
    return float(kept.mean(dtype=np.float64)) if kept.size else float("nan")
