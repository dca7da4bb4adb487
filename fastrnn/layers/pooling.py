"""Pooling over time, which reduces a sequence to one vector: Last, MeanPool, MaxPool.

All map ``x [T, B, ...]``, float32 or float64, and ``lengths``, integers ``[B]`` in 0..T (None: all T), to ``y [B, ...]``.
Steps at or past a sequence's length are not read, and their gradient is zero. A sequence of length 0 has no last step, no
mean and no largest value, so its y is zero. T is at least 1; B may be 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core import checks, memory
from .._core.arrays import Array
from .._stack_validation import check_lengths
from ..masks import sequence_mask
from ._recurrent.inputs import array, floats
from .base import Layer

Backward = Callable[[Array], Array]


class Pool(Layer):
    """Base class of Last, MeanPool and MaxPool: maps ``x [T, B, ...]`` and ``lengths [B]`` to ``y [B, ...]``.

    A stream returns the result for the sequence so far. Raises TypeError if x is not an array of floats or lengths are not
    integers, ValueError if the shapes or lengths do not fit.
    """

    takes_lengths = True
    gives_time = False

    def __call__(self, x: Array, lengths: Any = None) -> Array:
        """Return the pooled sequences ``[B, ...]``."""
        x, lengths = _checked(x, lengths)
        return self._pool(x, lengths)[0]

    def forward(self, x: Array, lengths: Any = None) -> tuple[Array, Backward]:
        """Return y and a backward that maps dy to dx."""
        x, lengths = _checked(x, lengths)
        shape, dtype = x.shape, x.dtype.name
        y, spread = self._pool(x, lengths)

        def backward(dy: Array) -> Array:
            dx = memory.zeros(shape, dtype)
            spread(array("dy", dy, shape[1:], dtype, "[B, ...]"), dx)
            return dx

        return y, backward

    def not_streaming(self) -> str | None:
        """Return None, because every pooling can be streamed."""
        return None

    def _pool(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        """Return y and a function ``(dy, dx)`` that writes x's gradient into a dx of zeros."""
        raise NotImplementedError


class Last(Pool):
    """Last step of each sequence, ``y[b] = x[lengths[b] - 1, b]``. For shapes and errors see :class:`Pool`."""

    def _pool(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        T, B = x.shape[:2]
        ends = np.full(B, T) if lengths is None else lengths
        started = np.flatnonzero(ends)
        last = ends[started] - 1, started
        y = memory.zeros(x.shape[1:], x.dtype)
        y[started] = x[last]

        def spread(dy: Array, dx: Array) -> None:
            dx[last] = dy[started]

        return y, spread

    def stream(self, x: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """Return ``y, state`` after the next steps, where the state is y; see :meth:`Layer.stream`."""
        x, lengths = _checked(x, lengths)
        y, _ = self._pool(x, lengths)
        if state is not None:
            before = array("state", state, y.shape, y.dtype.name, "[B, ...]")
            y = np.where(_started(x, lengths), y, before)
        return y, y.copy()


class MeanPool(Pool):
    """Mean over each sequence's steps, ``y[b] = sum_{t < lengths[b]} x[t, b] / lengths[b]``, or 0 without steps.

    For shapes and errors see :class:`Pool`.
    """

    def _pool(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        total, count, valid = _sum(x, lengths)

        def spread(dy: Array, dx: Array) -> None:
            np.copyto(dx, _mean(dy, count), where=valid)

        return _mean(total, count), spread

    def stream(self, x: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """Return ``y, state`` after the next steps, where the state holds sums and counts; see :meth:`Layer.stream`."""
        total, count, _ = _sum(*_checked(x, lengths))
        if state is not None:
            before, steps = _state(state, ("total", "count"))
            total = total + array("state's total", before, total.shape, total.dtype.name, "[B, ...]")
            count = count + array("state's count", steps, count.shape, count.dtype.name, "[B, ...]")
        return _mean(total, count), (total, count)


class MaxPool(Pool):
    """Largest value over each sequence's steps, ``y[b] = max_{t < lengths[b]} x[t, b]``.

    If several steps hold the largest value, the first one receives the gradient. For shapes and errors see :class:`Pool`.
    """

    def _pool(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array, Array], None]]:
        started, (largest, first) = _started(x, lengths), _largest(x, lengths)

        def spread(dy: Array, dx: Array) -> None:
            np.put_along_axis(dx, first, np.where(started, dy, 0)[None], axis=0)

        return _where(started, largest), spread

    def stream(self, x: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """Return ``y, state`` after the next steps; see :meth:`Layer.stream`.

        The state holds the largest values so far, and for each sequence whether it has had a step.
        """
        x, lengths = _checked(x, lengths)
        started, (largest, _) = _started(x, lengths), _largest(x, lengths)
        if state is not None:
            before, had = _state(state, ("largest", "started"))
            largest = np.maximum(largest, array("state's largest", before, largest.shape, largest.dtype.name, "[B, ...]"))
            started = started | array("state's started", had, started.shape, "bool", "[B, ...]")
        return _where(started, largest), (largest, started)


def _checked(x: Any, lengths: Any) -> tuple[Array, Array | None]:
    """Validate and return x and lengths. Raises TypeError or ValueError."""
    x = floats("x", x)
    if x.ndim < 2:
        raise ValueError(f"x must have the axes [T, B, ...], got {checks.describe(x)}")
    checks.steps(x)
    return x, None if lengths is None else check_lengths(lengths, x.shape[0], x.shape[1])


def _mask(lengths: Array, x: Array) -> Array:
    """Return a bool mask ``[T, B, 1...]``, True at steps before a sequence's length."""
    return sequence_mask(lengths, x.shape[0]).reshape(x.shape[:2] + (1,) * (x.ndim - 2))


def _sum(x: Array, lengths: Array | None) -> tuple[Array, Array, Array | bool]:
    """Return sums ``[B, ...]``, step counts ``[B, 1...]`` in x's dtype, and the mask of the summed steps (True: all)."""
    valid = True if lengths is None else _mask(lengths, x)
    count = np.full(x.shape[1], x.shape[0]) if lengths is None else lengths
    total: Array = np.sum(x, axis=0, where=valid)
    return total, count.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 2)), valid


def _mean(total: Array, count: Array) -> Array:
    """Return the mean of ``count`` values, or 0 if ``count`` is 0."""
    mean: Array = total / np.maximum(count, 1)
    return mean


def _largest(x: Array, lengths: Array | None) -> tuple[Array, Array]:
    """Return the largest values ``[B, ...]``, -inf without steps, and the first steps that hold them ``[1, B, ...]``."""
    if lengths is not None:
        x = np.where(_mask(lengths, x), x, -np.inf).astype(x.dtype, copy=False)
    first = np.argmax(x, axis=0)[None]
    return np.take_along_axis(x, first, axis=0)[0], first


def _started(x: Array, lengths: Array | None) -> Array:
    """Return bool ``[B, 1...]``, True for sequences with at least one step."""
    started = np.ones(x.shape[1], bool) if lengths is None else lengths > 0
    return started.reshape(-1, *(1,) * (x.ndim - 2))


def _where(started: Array, y: Array) -> Array:
    """Return y with zeros for sequences without steps."""
    return np.where(started, y, y.dtype.type(0))


def _state(state: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    if isinstance(state, tuple) and len(state) == len(names):
        return state
    raise TypeError(f"state must be a pair ({', '.join(names)}), got {checks.describe(state)}")
