"""RepeatVector: the same vector at every time step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core import checks
from .._core.arrays import Array
from .._core.drawing_limit import check_trial
from ._recurrent.inputs import array, floats
from ._symbolic.symbols import Nest, Spec
from .base import Layer


class RepeatVector(Layer):
    """Repetition of ``x [B, ...]`` over ``n`` time steps, ``y [n, B, ...]``, for example as a decoder's input.

    If the number of steps comes from another sequence, ``RepeatVector()(x, like)`` has as many as ``like [T, B, ...]``, an
    array of any dtype, whose gradient is None. Only that form can be streamed: x stays the same, ``like`` comes in chunks.
    Raises TypeError if x is not an array of floats or like not an array, ValueError if the shapes do not fit or unless
    exactly one of n and like is given.
    """

    makes_time = gives_time = True

    def __init__(self, n: int | None = None) -> None:
        self.n = None if n is None else checks.positive_int("n", n)
        self.pointwise = self.n is None  # each of the steps of ``like`` is computed alone

    def __call__(self, x: Array, like: Array | None = None) -> Array:
        """Return the repeated x."""
        x, n = self._checked(x, like)
        check_trial([(n, *x.shape)])
        return np.repeat(x[None], n, axis=0)

    def forward(self, x: Array, like: Array | None = None) -> tuple[Array, Callable[[Array], Any]]:
        """Return y and a backward that maps dy to dx, or to ``(dx, None)`` with ``like``."""
        y = self(x, like)
        shape, dtype = y.shape, y.dtype.name

        def backward(dy: Array) -> Any:
            dx: Array = np.sum(array("dy", dy, shape, dtype, "[n, B, ...]"), axis=0)
            return dx if like is None else (dx, None)

        return y, backward

    def infer(self, x: Nest, *like: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        if isinstance(x, Spec) and x.time is not None:
            raise ValueError("x must not have a time axis: [B, ...]")
        return super().infer(x, *like, **options)

    def not_streaming(self) -> str | None:
        """Return why the layer cannot be streamed, or None."""
        return None if self.n is None else "it makes n steps of its own; RepeatVector()(x, like) follows another sequence"

    def stream(  # type: ignore[override]
        self, x: Array, like: Array | None = None, state: Any = None, lengths: Any = None
    ) -> tuple[Array, Any]:
        """Return ``y, state`` for the next steps of ``like``; see :meth:`Layer.stream`. Raises ValueError if x changes."""
        self.require_streaming()
        y = self(x, like)
        if state is not None and not np.array_equal(state, x, equal_nan=True):
            raise ValueError("x must be the same in every chunk, because it is repeated at every step")
        return y, x.copy() if state is None else state

    def _checked(self, x: Any, like: Any) -> tuple[Array, int]:
        """Validate x and like; return x and the number of steps. Raises TypeError or ValueError."""
        x = floats("x", x)
        if (like is None) == (self.n is None):
            raise ValueError("exactly one of n and like must be given, for the number of steps")
        if self.n is not None:
            return x, self.n
        if not isinstance(like, np.ndarray):
            raise TypeError(f"like must be an array [T, B, ...], got {checks.describe(like)}")
        if like.ndim < 2 or not x.ndim or like.shape[1] != x.shape[0]:
            raise ValueError(f"like must have the axes [T, B, ...] and x's B, {x.shape[:1]}, got {checks.describe(like)}")
        return x, like.shape[0]

    def extra_repr(self) -> str:
        """Return the number of steps if it is fixed, else an empty string."""
        return "" if self.n is None else str(self.n)
