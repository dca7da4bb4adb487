"""Time axes: where layers read them, and what becomes of them, and of lengths, when time is sliced.

A slice is taken of each sequence by itself, so that padding changes nothing: ``x[1:]`` drops the first step of each,
``x[-2:]`` keeps the last two that each one has. The axis that it gives is named after its number of steps: ``T-1``,
``min(T, 2)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .symbols import UNKNOWN, Axis, Nest, flat

Array = NDArray[Any]


def require_time(layer: object, inputs: Nest) -> None:
    """Raise ValueError if the first of some specs does not have time where the layer reads it."""
    x = next(flat(inputs), None)
    batch_first = getattr(layer, "batch_first", False)
    if x is not None and (len(x.shape) < 2 or x.shape[0 if batch_first else 1] != "B"):
        raise ValueError(f"x must have a time axis: [{'B, T' if batch_first else 'T, B'}, ...]")


class Count(NamedTuple):
    """The number of steps in a slice of n: ``ceil(min(max(n - drop, 0), cap) / stride)``, cap None for no limit."""

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
    """A time axis ``base[part]``. Axes of one name have the same number of steps."""

    base: str
    part: slice
    steps: Count | None  # where there is a formula

    def __new__(cls, base: str, part: slice) -> SlicedAxis:
        """The axis of a slice, named after its steps, or else after the slice."""
        before = base.steps if isinstance(base, SlicedAxis) else Count(base)
        steps = None if before is None else _counted(before, part)
        axis = super().__new__(cls, f"{base}[{shown(part)}]" if steps is None else str(steps))
        axis.base, axis.part, axis.steps = base, part, steps
        return axis

    def __getnewargs__(self) -> tuple[Any, ...]:  # type: ignore[override]
        """Return the arguments that make a copy."""
        return self.base, self.part


def _counted(before: Count, index: slice) -> Count | None:
    """The number of steps as a formula of the root's, None where there is none of that form."""
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
        return None  # the last few that are also among the first few
    left = None if before.cap is None else max(before.cap - drop, 0)
    caps = [limit for limit in (left, cap) if limit is not None]
    return Count(before.root, before.drop + drop, min(caps, default=None), step)


def shown(index: slice) -> str:
    """A slice as it is written: ``1:``, ``::2``."""
    start, stop, step = ("" if part is None else str(part) for part in (index.start, index.stop, index.step))
    return f"{start}:{stop}" + (f":{step}" if step else "")


def sliced(axis: Axis, index: slice) -> Axis:
    """The axis that a slice of this one is: a number of a number, itself where all of it is taken."""
    if isinstance(axis, int):
        return len(range(*index.indices(axis)))
    if axis == UNKNOWN:
        return UNKNOWN
    of = SlicedAxis(axis, index)
    if of.steps is not None and of.steps.cap == 0:
        return 0
    return axis if of == axis else of


def renamed(axis: Axis, names: Mapping[Axis, Axis]) -> Axis:
    """An axis in which some letters stand for other axes."""
    if axis in names or not isinstance(axis, SlicedAxis):
        return names.get(axis, axis)
    return sliced(renamed(axis.base, names), axis.part)


def lengths_of(axis: Axis | None, lengths: Mapping[Any, Array]) -> Array | None:
    """The lengths along this axis, from those of some axes; None where all sequences are as long as the axis."""
    if axis in lengths:
        return lengths[axis]
    if not isinstance(axis, SlicedAxis):
        return None
    base = lengths_of(axis.base, lengths)
    return None if base is None else counts(axis.part, base)


def counts(index: slice, lengths: Array) -> Array:
    """Return the number of steps that a slice takes of each sequence, int64 of the shape of the lengths."""
    return np.array([len(range(*index.indices(n))) for n in lengths.tolist()], np.int64)
