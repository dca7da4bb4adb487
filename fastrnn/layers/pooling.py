"""A whole sequence as one vector: Last, MeanPool, MaxPool.

All take ``x [T, B, ...]``, float32 or float64, and ``lengths``, integers ``[B]`` each in 0..T (None is T for all), and
give ``y [B, ...]``. What stands at and after a sequence's length is not read, and its gradient is zero. y of a sequence of
length 0 is zero: it has no last step, no mean and no largest value. T is at least 1; B may be 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks, memory
from .._stack_validation import check_lengths
from ..masks import sequence_mask
from ._recurrent.inputs import array, floats
from .base import Layer

Array = NDArray[Any]
Backward = Callable[[Array], Array]


class Pool(Layer):
    """What Last, MeanPool and MaxPool share: ``y [B, ...]`` of ``x [T, B, ...]`` and ``lengths [B]``.

    Raises TypeError for what is not an array of floats or of integer lengths, ValueError for shapes or lengths that do not
    fit. A stream gives what the whole sequence so far does.
    """

    takes_lengths = True
    gives_time = False

    def __call__(self, x: Array, lengths: Any = None) -> Array:
        """y."""
        x, lengths = _enter(x, lengths)
        return self._pool(x, lengths)[0]

    def forward(self, x: Array, lengths: Any = None) -> tuple[Array, Backward]:
        """y, and a backward that maps dy to dx."""
        x, lengths = _enter(x, lengths)
        shape, dtype = x.shape, x.dtype.name
        y, spread = self._pool(x, lengths)

        def backward(dy: Array) -> Array:
            dx = memory.zeros(shape, dtype)
            spread(array("dy", dy, shape[1:], dtype, "[B, ...]"), dx)
            return dx

        return y, backward

    def not_streaming(self) -> str | None:
        """None: it goes on from the steps before."""
        return None

    def _pool(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        """y, and what puts dy into a dx of zeros."""
        raise NotImplementedError


class Last(Pool):
    """The last step of each sequence, ``y[b] = x[lengths[b] - 1, b]``. Shapes and errors: :class:`Pool`."""

    def _pool(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        T, B = x.shape[:2]
        ends = np.full(B, T) if lengths is None else lengths
        some = np.flatnonzero(ends)
        last = ends[some] - 1, some
        y = memory.zeros(x.shape[1:], x.dtype)
        y[some] = x[last]

        def spread(dy: Array, dx: Array) -> None:
            dx[last] = dy[some]

        return y, spread

    def stream(self, x: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """``y, state`` after the next steps, the state being y; see :meth:`Layer.stream`."""
        x, lengths = _enter(x, lengths)
        y, _ = self._pool(x, lengths)
        if state is not None:
            before = array("state", state, y.shape, y.dtype.name, "[B, ...]")
            y = np.where(_started(x, lengths), y, before)
        return y, y.copy()


class MeanPool(Pool):
    """The mean over each sequence's steps, ``y[b] = sum_{t < lengths[b]} x[t, b] / lengths[b]``, 0 for no steps.

    See :class:`Pool`.
    """

    def _pool(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        total, count, counted = _sum(x, lengths)

        def spread(dy: Array, dx: Array) -> None:
            np.copyto(dx, _mean(dy, count), where=counted)

        return _mean(total, count), spread

    def stream(self, x: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """``y, state`` after the next steps, the state being sums and counts; see :meth:`Layer.stream`."""
        total, count, _ = _sum(*_enter(x, lengths))
        if state is not None:
            before, steps = _state(state, ("total", "count"))
            total = total + array("state's total", before, total.shape, total.dtype.name, "[B, ...]")
            count = count + array("state's count", steps, count.shape, count.dtype.name, "[B, ...]")
        return _mean(total, count), (total, count)


class MaxPool(Pool):
    """The largest value over each sequence's steps, ``y[b] = max_{t < lengths[b]} x[t, b]``. See :class:`Pool`.

    Where it stands at several steps, the first one has the gradient.
    """

    def _pool(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        started, (largest, first) = _started(x, lengths), _largest(x, lengths)

        def spread(dy: Array, dx: Array) -> None:
            np.put_along_axis(dx, first, np.where(started, dy, 0)[None], axis=0)

        return _where(started, largest), spread

    def stream(self, x: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """``y, state`` after the next steps: the largest values so far, and whether there were any.

        See :meth:`Layer.stream`.
        """
        x, lengths = _enter(x, lengths)
        started, (largest, _) = _started(x, lengths), _largest(x, lengths)
        if state is not None:
            before, had = _state(state, ("largest", "started"))
            largest = np.maximum(largest, array("state's largest", before, largest.shape, largest.dtype.name, "[B, ...]"))
            started = started | array("state's started", had, started.shape, "bool", "[B, ...]")
        return _where(started, largest), (largest, started)


def _enter(x: Any, lengths: Any) -> tuple[Array, Array | None]:
    """x and lengths, checked. Raises TypeError or ValueError."""
    x = floats("x", x)
    if x.ndim < 2:
        raise ValueError(f"x must have the axes [T, B, ...], got {checks.describe(x)}")
    checks.steps(x)
    return x, None if lengths is None else check_lengths(lengths, x.shape[0], x.shape[1])


def _mask(lengths: Array, x: Array) -> Array:
    """bool ``[T, B, 1...]``: which of x counts."""
    return sequence_mask(lengths, x.shape[0]).reshape(x.shape[:2] + (1,) * (x.ndim - 2))


def _sum(x: Array, lengths: Array | None) -> tuple[Array, Array, Array | bool]:
    """Sums ``[B, ...]``, counts ``[B, 1...]`` of x's dtype, and what was counted."""
    counted = True if lengths is None else _mask(lengths, x)
    count = np.full(x.shape[1], x.shape[0]) if lengths is None else lengths
    total: Array = np.sum(x, axis=0, where=counted)
    return total, count.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 2)), counted


def _mean(total: Array, count: Array) -> Array:
    """Return the mean of ``count`` values, 0 of none."""
    mean: Array = total / np.maximum(count, 1)
    return mean


def _largest(x: Array, lengths: Array | None) -> tuple[Array, Array]:
    """Return the largest values ``[B, ...]``, -inf where there are no steps, and where they stand first ``[1, B, ...]``."""
    if lengths is not None:
        x = np.where(_mask(lengths, x), x, -np.inf).astype(x.dtype, copy=False)
    first = np.argmax(x, axis=0)[None]
    return np.take_along_axis(x, first, axis=0)[0], first


def _started(x: Array, lengths: Array | None) -> Array:
    """Return bool ``[B, 1...]``: which sequences have a step."""
    started = np.ones(x.shape[1], bool) if lengths is None else lengths > 0
    return started.reshape(-1, *(1,) * (x.ndim - 2))


def _where(started: Array, y: Array) -> Array:
    """Return y, zero for the sequences that have no step."""
    return np.where(started, y, y.dtype.type(0))


def _state(state: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    if isinstance(state, tuple) and len(state) == len(names):
        return state
    raise TypeError(f"state must be a pair ({', '.join(names)}), got {checks.describe(state)}")
