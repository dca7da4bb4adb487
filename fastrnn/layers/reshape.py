"""Reshape: a new shape for the feature axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._core import checks
from .._core.arrays import Array
from ._recurrent.inputs import array
from ._symbolic.symbols import Nest, Spec
from .base import Layer


class Reshape(Layer):
    """Reshaped features with time and batch unchanged: ``x [..., *features]`` becomes ``y [..., *shape]``.

    ``Reshape((8, 8))`` maps ``[T, B, 64]`` to ``[T, B, 8, 8]``, and ``Reshape((64,))`` does the reverse. Values stay in
    NumPy's order.

    Parameters
    ----------
    shape
        The new feature axes. One size may be -1 if ``axes`` is given; it is computed from the others.
    axes
        The number of last axes of x to reshape; by default as few as hold the right number of values.

    Raises
    ------
    TypeError
        If x is not an array.
    ValueError
        If x's features do not fit, or if ``axes`` is ambiguous: ``[B, 1, 78]`` to ``(78,)`` needs ``axes=2``.
    """

    pointwise = True

    def __init__(self, shape: Sequence[int] | int, axes: int | None = None) -> None:
        sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        self.shape = tuple(-1 if size == -1 else checks.positive_int("shape", size) for size in sizes)
        self.axes = None if axes is None else checks.positive_int("axes", axes)
        if not self.shape or self.shape.count(-1) > (axes is not None):
            raise ValueError(f"shape must hold positive sizes, and at most one -1 if axes is given, got {shape!r}")

    def __call__(self, x: Array) -> Array:
        """Return the reshaped x, a view if possible."""
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x must be an array, got {checks.describe(x)}")
        return x.reshape(self._shape_of(x.shape))

    def forward(self, x: Array) -> tuple[Array, Callable[[Array], Array | None]]:
        """Return y and a backward that maps dy to dx (None if x holds ids)."""
        y = self(x)
        x_shape, shape, dtype = x.shape, y.shape, x.dtype

        def backward(dy: Array) -> Array | None:
            if dtype.kind != "f":
                return None
            return array("dy", dy, shape, dtype.name, "that of y").reshape(x_shape)

        return y, backward

    def infer(self, x: Nest, *others: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        y = Spec(self._shape_of(x.shape), x.dtype)
        taken, features = len(x.shape) - len(y.shape) + len(self.shape), len(x.shape) - (2 if x.sequence else 1)
        if self.axes is None and taken < features and x.shape[-taken - 1] == 1:
            raise ValueError(f"axes must be given: the last {taken + 1} axes of {x.axes} hold no more than the last {taken}")
        return y

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; see :meth:`Layer.config`."""
        return {"shape": list(self.shape), "axes": self.axes}

    def extra_repr(self) -> str:
        """Return the arguments."""
        return str(self.shape) + ("" if self.axes is None else f", axes={self.axes}")

    def _shape_of(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return y's shape for x's, in sizes and letters. The first axis never changes. Raises ValueError."""
        wanted = math.prod(self.shape)
        for axes in range(1, len(shape)) if self.axes is None else (self.axes,):
            features = shape[len(shape) - axes :]
            if axes >= len(shape) or any(isinstance(size, str) for size in features):
                break
            held = math.prod(features)
            if wanted < 0 and held % wanted == 0:
                missing = held // -wanted
                return (*shape[:-axes], *(missing if size == -1 else size for size in self.shape))
            if held == wanted:
                return (*shape[:-axes], *self.shape)
        shown = f"[{', '.join(map(str, shape))}]"
        what = "last axes" if self.axes is None else f"last {self.axes} axes"
        raise ValueError(f"x must have {what} that hold {abs(wanted)} values, for {self.shape}, got {shown}")
