"""One vector at every step: RepeatVector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks
from ._recurrent.inputs import array, floats
from ._symbolic.symbols import Nest, Spec
from .base import Layer

Array = NDArray[Any]


class RepeatVector(Layer):
    """``x [B, ...]`` at each of ``n`` steps, ``y [n, B, ...]``: what a decoder is told at every step.

    Where the number of steps is known only from another sequence, ``RepeatVector()(x, like)`` has as many as ``like [T, B,
    ...]``, an array of any dtype, whose gradient is None. That form can be streamed as ``like`` is, with an x that stays.
    Raises TypeError for what is not an array (x: of floats), ValueError for shapes that do not fit or where both or neither
    of n and like are given.
    """

    makes_time = gives_time = True

    def __init__(self, n: int | None = None) -> None:
        self.n = None if n is None else checks.positive_int("n", n)

    def __call__(self, x: Array, like: Array | None = None) -> Array:
        """y."""
        x, n = self._enter(x, like)
        return np.repeat(x[None], n, axis=0)

    def forward(self, x: Array, like: Array | None = None) -> tuple[Array, Callable[[Array], Any]]:
        """y, and a backward that maps dy to dx; with ``like`` to ``(dx, None)``."""
        y = self(x, like)
        shape, dtype = y.shape, y.dtype.name

        def backward(dy: Array) -> Any:
            dx: Array = np.sum(array("dy", dy, shape, dtype, "[n, B, ...]"), axis=0)
            return dx if like is None else (dx, None)

        return y, backward

    def infer(self, x: Nest, *like: Nest, **options: Any) -> Nest:
        """y's spec; see :meth:`Layer.infer`."""
        if isinstance(x, Spec) and x.time is not None:
            raise ValueError("x must be without a time axis: [B, ...]")
        return super().infer(x, *like, **options)

    def not_streaming(self) -> str | None:
        """Why it cannot be run chunk by chunk, None if it can."""
        return None if self.n is None else "it makes n steps of its own; RepeatVector()(x, like) follows another sequence"

    def stream(  # type: ignore[override]
        self, x: Array, like: Array | None = None, state: Any = None, lengths: Any = None
    ) -> tuple[Array, Any]:
        """``y, state`` for the next steps of ``like``; see :meth:`Layer.stream`. Raises ValueError if x has changed."""
        self.require_streaming()
        y = self(x, like)
        if state is not None and not np.array_equal(state, x, equal_nan=True):
            raise ValueError("x must be the same at every chunk: what is repeated has to be known before the first step")
        return y, x.copy() if state is None else state

    def _enter(self, x: Any, like: Any) -> tuple[Array, int]:
        """x and the number of steps. Raises TypeError or ValueError."""
        x = floats("x", x)
        if (like is None) == (self.n is None):
            raise ValueError("the number of steps must come from n or from like, and from one of them")
        if self.n is not None:
            return x, self.n
        if not isinstance(like, np.ndarray):
            raise TypeError(f"like must be an array [T, B, ...], got {checks.describe(like)}")
        if like.ndim < 2 or not x.ndim or like.shape[1] != x.shape[0]:
            raise ValueError(f"like must have the axes [T, B, ...] and x's B, {x.shape[:1]}, got {checks.describe(like)}")
        return x, like.shape[0]

    def extra_repr(self) -> str:
        """The number of steps, if it is fixed."""
        return "" if self.n is None else str(self.n)
