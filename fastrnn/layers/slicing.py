"""Slice: a part of the features or time steps. ``symbol[index]`` calls it."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any

import numpy as np

from .._core import checks, memory
from .._core.arrays import Array
from .._stack_validation import check_lengths
from ._recurrent.inputs import array
from ._symbolic.padding import padding_value
from ._symbolic.symbols import OPERATORS, Axis, Nest, Spec
from ._symbolic.time_axes import counts, shown, sliced
from .base import Layer

Item = int | slice | EllipsisType
ALL = slice(None)


class Slice(Layer):
    """Slice ``x[index]`` with NumPy's indices: integers and slices, also negative, and at most one ``...``.

    ::

        Slice((..., slice(64)))(y)    # y[..., :64], the first 64 features
        Slice(0)(y)                   # y[0], the first step, [B, ...]
        Slice(slice(None, None, -1))  # y[::-1], backwards in time

    ``x`` is ``[T, B, ...]`` or ``[B, ...]`` of any dtype. The first index selects time steps, later ones features; the batch
    cannot be sliced. Each sequence is sliced within its own length: ``x[-1]`` is its own last step, and ``x[::-1]`` reverses
    its valid steps. y has new lengths, which a model passes to later layers. A slice of time needs the whole sequence, so it
    cannot be streamed.

    In a :meth:`config`, ``index`` is a list of integers, ``"..."`` and ``[start, stop, step]``. Raises TypeError for an
    invalid index, ValueError if x, or one of its sequences, is too short for it.
    """

    def __init__(self, index: Any) -> None:
        self._items = _items(index)
        self.over_time = not (self._items[0] is Ellipsis or self._items[0] == ALL)
        if self.over_time and len(self._items) > 1 and self._items[1] not in (ALL, Ellipsis):
            raise ValueError(f"the batch must not be sliced: it comes after time, got [{self.extra_repr()}]")
        self.pointwise, self.takes_lengths = not self.over_time, self.over_time
        self.gives_time = not isinstance(self._items[0], int)

    def __call__(self, x: Array, lengths: Any = None) -> Array:
        """Return the slice, possibly a view of x."""
        return self._slice(*self._checked(x, lengths))[0]

    def forward(self, x: Array, lengths: Any = None) -> tuple[Array, Callable[[Array], Array | None]]:
        """Return y and a backward that maps dy to dx, zero outside the slice (None if x holds ids)."""
        x, lengths = self._checked(x, lengths)
        y, put = self._slice(x, lengths)
        x_shape, shape, dtype = x.shape, y.shape, x.dtype

        def backward(dy: Array) -> Array | None:
            if dtype.kind != "f":
                return None
            dx = memory.zeros(x_shape, dtype)
            put(dx, array("dy", dy, shape, dtype.name, "that of y"))
            return dx

        return y, backward

    def infer(self, x: Nest, *others: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        shape: list[Axis] = []
        items = self._by_axis(len(x.shape))
        for i, (axis, item) in enumerate(zip(x.shape, items, strict=True)):
            if item == ALL:
                shape.append(axis)
                continue
            if axis == "B":
                raise ValueError(f"the batch must not be sliced, got an index for axis {i}")
            if i == 0 and not self.over_time:
                raise ValueError("time must be sliced by the first index, not by one after ...")
            if isinstance(axis, str) and not (i == 0 and x.sequence):
                raise ValueError(f"axis {i} must have a fixed size to be sliced, got {axis}")
            if isinstance(item, slice):
                shape.append(sliced(axis, item))
                if not shape[-1]:
                    raise ValueError(f"[{shown(item)}] selects nothing from axis {i}, which is {axis} long")
            elif isinstance(axis, int):
                _require_within(item, axis, i)
        return Spec(tuple(shape), x.dtype)

    def lengths_after(self, lengths: Array) -> Array:
        """Return the lengths of y, given those of x; see :meth:`Layer.lengths_after`."""
        item = self._items[0]
        return counts(item, lengths) if self.over_time and isinstance(item, slice) else lengths

    def not_streaming(self) -> str | None:
        """Return why the layer cannot be streamed, or None."""
        return f"[{self.extra_repr()}] needs the whole sequence" if self.over_time else None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; see :meth:`Layer.config`."""

        def described(item: Item) -> Any:
            return [item.start, item.stop, item.step] if isinstance(item, slice) else "..." if item is Ellipsis else item

        return {"index": [described(item) for item in self._items]}

    def extra_repr(self) -> str:
        """Return the index in Python's notation."""
        return ", ".join("..." if i is Ellipsis else shown(i) if isinstance(i, slice) else str(i) for i in self._items)

    def _checked(self, x: Any, lengths: Any) -> tuple[Array, Array | None]:
        """Validate and return x and lengths. Raises TypeError or ValueError."""
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x must be an array, got {checks.describe(x)}")
        items = self._by_axis(x.ndim)
        for i, (size, item) in enumerate(zip(x.shape, items, strict=True)):
            if isinstance(item, int):
                _require_within(item, size, i)
            elif isinstance(item, slice) and item != ALL and not range(*item.indices(size)):
                raise ValueError(f"[{shown(item)}] selects nothing from axis {i}, which is {size} long")
        if lengths is None or not self.over_time:
            return x, None
        if x.ndim < 2:
            raise ValueError(f"x must have the axes [T, B, ...], got {checks.describe(x)}")
        return x, check_lengths(lengths, x.shape[0], x.shape[1])

    def _by_axis(self, ndim: int) -> list[int | slice]:
        """Return an item for each of ``ndim`` axes. Raises ValueError if there are more items than axes."""
        given = len(self._items) - (Ellipsis in self._items)
        if given > ndim:
            raise ValueError(f"x must have at least {given} axes for [{self.extra_repr()}], got {ndim}")
        at = self._items.index(Ellipsis) if Ellipsis in self._items else len(self._items)
        return [*self._items[:at], *[ALL] * (ndim - given), *self._items[at + 1 :]]  # type: ignore[list-item]

    def _slice(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        """Return y and a function ``(dx, dy)`` that writes x's gradient into a dx of zeros."""
        if lengths is None:

            def put(dx: Array, dy: Array) -> None:
                dx[self._items] = dy

            return x[self._items], put
        rows, valid = self._rows(lengths, x.shape[0])
        sequences = np.broadcast_to(np.arange(x.shape[1]), rows.shape)
        rest = (*[ALL] * (rows.ndim - 1), *self._items[1:])

        def put_steps(dx: Array, dy: Array) -> None:
            steps = memory.zeros(rows.shape + dx.shape[2:], dx.dtype)
            steps[rest] = dy
            dx[rows[valid], sequences[valid]] = steps[valid]

        steps = x[rows, sequences]
        steps[~valid] = padding_value(x)
        return steps[rest], put_steps

    def _rows(self, lengths: Array, T: int) -> tuple[Array, Array]:
        """Return the steps to select from each sequence, ``[B]`` or ``[n, B]``, and a mask of those that exist."""
        item = self._items[0]
        if isinstance(item, int):
            rows = lengths + item if item < 0 else np.full_like(lengths, item)
            missing = np.flatnonzero((rows < 0) | (rows >= lengths))
            if missing.size:
                b, needed = missing[0], -item if item < 0 else item + 1
                raise ValueError(f"x[{item}] needs {needed} steps, and sequence {b} has {lengths[b]}")
            return rows, np.ones(rows.shape, bool)
        assert isinstance(item, slice)
        ranges = [range(*item.indices(n)) for n in lengths.tolist()]
        selected = np.array([len(each) for each in ranges], np.int64)
        step = np.arange(max(selected.max(initial=0), len(range(*item.indices(T)))))[:, None]
        rows = np.array([each.start for each in ranges], np.int64) + step * (item.step or 1)
        valid = step < selected
        return np.where(valid, rows, 0), valid


OPERATORS["[]"] = Slice


def _items(index: Any) -> tuple[Item, ...]:
    """Return the items of an index or of its description. Raises TypeError or ValueError."""
    items = tuple(_described(item) for item in index) if isinstance(index, list) else index
    items = items if isinstance(items, tuple) else (items,)
    checked = tuple(map(_item, items))
    if not checked or checked.count(Ellipsis) > 1:
        raise ValueError(f"index must hold an integer, a slice or one ..., got {index!r}")
    return checked


def _described(item: Any) -> Any:
    return (
        slice(*item)
        if isinstance(item, list) and len(item) == 3
        else Ellipsis
        if isinstance(item, str) and item == "..."
        else item
    )


def _item(item: Any) -> Item:
    if item is Ellipsis:
        return ...
    if not isinstance(item, slice):
        return _integer(item)
    start, stop, step = (None if part is None else _integer(part) for part in (item.start, item.stop, item.step))
    if step == 0:
        raise ValueError("index must not have a slice of step 0")
    return slice(start, stop, step)


def _integer(value: Any) -> int:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise TypeError(f"index must hold integers, slices of integers and ..., got {checks.describe(value)}")


def _require_within(index: int, size: int, axis: int) -> None:
    if not -size <= index < size:
        raise ValueError(f"index {index} must lie in axis {axis}, which is {size} long")
