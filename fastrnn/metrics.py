"""Metrics ``metric(outputs, targets, mask=None) -> float``: means over the unmasked positions, NaN if there are none.

``targets`` are class ids ``[...]`` for ``outputs [..., V]``, or numbers of the outputs' shape. ``mask`` is bool with the
shape of the leading axes, False at positions to leave out; None includes all. Class ids of -100 are also left out. Raises
TypeError or ValueError naming the argument.
"""

from __future__ import annotations

import numpy as np

from ._core import checks
from ._core.arrays import Array
from .losses import IGNORED, check_mask


def counted(targets: Array, mask: Array | None = None) -> Array | None:
    """Return a mask that also excludes class ids of -100, or None if no position is excluded."""
    if targets.dtype.kind not in "iu":
        return mask
    unmasked: Array = targets != IGNORED
    return unmasked if mask is None else unmasked & mask


def accuracy(outputs: Array, targets: Array, mask: Array | None = None) -> float:
    """Return the fraction of positions where the largest of ``outputs [..., V]`` is at the class id ``targets [...]``.

    For targets that are numbers (0 or 1) of the outputs' shape, return :func:`binary_accuracy`.
    """
    _check_numbers(outputs, targets)
    if targets.dtype.kind == "f":
        return binary_accuracy(outputs, targets, mask)
    if outputs.shape[:-1] != targets.shape:
        raise ValueError(f"targets must have the shape {outputs.shape[:-1]}, got {checks.describe(targets)}")
    if mask is not None:
        mask = check_mask(mask, targets.shape, exact=True)
    return _mean(outputs.argmax(axis=-1) == targets, counted(targets, mask))


def binary_accuracy(outputs: Array, targets: Array, mask: Array | None = None) -> float:
    """Return the fraction of logits whose sign is right: above 0 if the target is above 0.5, else not."""
    _same_shape(outputs, targets)
    return _mean((outputs > 0) == (targets > 0.5), mask)


def mean_absolute_error(outputs: Array, targets: Array, mask: Array | None = None) -> float:
    """Return the mean of ``|outputs - targets|``; both have the same shape."""
    _same_shape(outputs, targets)
    return _mean(np.abs(outputs - targets), mask)


def _check_numbers(outputs: Array, targets: Array) -> None:
    for name, value in (("outputs", outputs), ("targets", targets)):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be an array of numbers, got {checks.describe(value)}")


def _same_shape(outputs: Array, targets: Array) -> None:
    _check_numbers(outputs, targets)
    if outputs.shape != targets.shape:
        raise ValueError(f"targets must have the shape of the outputs, {outputs.shape}, got {checks.describe(targets)}")


def _mean(values: Array, mask: Array | None) -> float:
    unmasked = values if mask is None else values[check_mask(mask, values.shape, exact=False)]
    return float(unmasked.mean(dtype=np.float64)) if unmasked.size else float("nan")
