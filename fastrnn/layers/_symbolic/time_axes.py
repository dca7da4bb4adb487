"""Time axes, and the axes and lengths that slices of time have.

Each sequence is sliced within its own length, so padding changes nothing: ``x[1:]`` drops each sequence's first step and
``x[-2:]`` selects its own last two. The new axis is named after its number of steps: ``T-1``, ``min(T, 2)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..._core.arrays import Array
from .symbols import UNKNOWN, Axis, Nest, flat


def require_time(layer: object, inputs: Nest) -> None:
    """Raise ValueError if the first input's spec has no time axis where the layer reads one."""
    x = next(flat(inputs), None)
    batch_first = getattr(layer, "batch_first", False)
    if x is not None and (len(x.shape) < 2 or x.shape[0 if batch_first else 1] != "B"):
        raise ValueError(f"x must have a time axis: [{'B, T' if batch_first else 'T, B'}, ...]")


class Count(NamedTuple):
    """Number of steps in a slice of n steps: ``ceil(min(max(n - drop, 0), cap) / stride)``, no limit if cap is None."""

    root: str
    drop: int = 0
    cap: int | None = None
    stride: int = 1

    def __str__(self) -> str:
        """Return the formula: ``T-1``, ``min(T, 2)``, ``ceil(T/2)``."""
        text = f"{self.root}-{self.drop}" if self.drop else self.root
        if self.cap is not None:
            text = f"min({text}, {self.cap})"
        return text if self.stride == 1 else f"ceil({text}/{self.stride})"


class SlicedAxis(str):
    """Time axis ``base[part]``. Axes with the same name have the same number of steps."""

    base: str
    part: slice
    steps: Count | None  # None if Count cannot express it

    def __new__(cls, base: str, part: slice) -> SlicedAxis:
        """Make the axis of a slice, named after its number of steps if there is a formula, else after the slice."""
        before = base.steps if isinstance(base, SlicedAxis) else Count(base)
        steps = None if before is None else _counted(before, part)
        axis = super().__new__(cls, f"{base}[{shown(part)}]" if steps is None else str(steps))
        axis.base, axis.part, axis.steps = base, part, steps
        return axis

    def __getnewargs__(self) -> tuple[Any, ...]:  # type: ignore[override]
        """Return the arguments of a copy."""
        return self.base, self.part


def _counted(before: Count, index: slice) -> Count | None:
    """Return the number of steps in terms of the root's, or None if Count cannot express it."""
    start, stop, step = index.start or 0, index.stop, 1 if index.step is None else index.step
    if before.stride != 1:
        return None
    if step < 0:
        return before._replace(stride=-step) if index.start is None and stop is None else None
    if start >= 0:
        drop, cap = (start, None) if stop is None else (start - stop, None) if stop < 0 else (start, max(stop - start, 0))
    elif stop is None or stop < 0:
        drop, cap = -(stop or 0), max((stop or 0) - start, 0)
    else:
        return None  # x[-a:b]: the steps that are among the last a and the first b
    left = None if before.cap is None else max(before.cap - drop, 0)
    caps = [limit for limit in (left, cap) if limit is not None]
    return Count(before.root, before.drop + drop, min(caps, default=None), step)


def shown(index: slice) -> str:
    """Return a slice in Python's notation: ``1:``, ``::2``."""
    start, stop, step = ("" if part is None else str(part) for part in (index.start, index.stop, index.step))
    return f"{start}:{stop}" + (f":{step}" if step else "")


def sliced(axis: Axis, index: slice) -> Axis:
    """Return the axis of a slice: a number for an axis of fixed size, and ``axis`` itself if nothing is dropped."""
    if isinstance(axis, int):
        return len(range(*index.indices(axis)))
    if axis == UNKNOWN:
        return UNKNOWN
    of = SlicedAxis(axis, index)
    if of.steps is not None and of.steps.cap == 0:
        return 0
    return axis if of == axis else of


def renamed(axis: Axis, names: Mapping[Axis, Axis]) -> Axis:
    """Return the axis with some letters replaced by other axes."""
    if axis in names or not isinstance(axis, SlicedAxis):
        return names.get(axis, axis)
    return sliced(renamed(axis.base, names), axis.part)


def lengths_of(axis: Axis | None, lengths: Mapping[Any, Array]) -> Array | None:
    """Return the lengths along an axis, given those of some axes; None if all sequences are as long as the axis."""
    if axis in lengths:
        return lengths[axis]
    if not isinstance(axis, SlicedAxis):
        return None
    base = lengths_of(axis.base, lengths)
    return None if base is None else counts(axis.part, base)


def counts(index: slice, lengths: Array) -> Array:
    """Return the number of steps that a slice selects from each sequence, int64 ``[B]``."""
    return np.array([len(range(*index.indices(n))) for n in lengths.tolist()], np.int64)
