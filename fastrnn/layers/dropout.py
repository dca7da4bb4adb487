"""Dropout: in training each value is zero with probability p, else scaled by 1/(1-p) (Srivastava et al. 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks, init, memory
from .base import Layer
from .door import array

Array = NDArray[Any]
Backward = Callable[[Array], Array]


def dropout_forward(x: Array, p: float, rng: np.random.Generator) -> tuple[Array, Backward]:
    """x times a fresh mask of zeros and 1/(1-p), and the backward that applies the same mask."""
    if p == 0:
        return x, lambda dy: dy
    mask = memory.empty(x.shape, x.dtype)
    rng.random(out=mask, dtype=x.dtype.type)
    np.greater_equal(mask, p, out=mask, casting="unsafe")
    mask *= 0.0 if p == 1 else 1 / (1 - p)

    def masked(value: Array) -> Array:
        result = memory.empty(value.shape, value.dtype)
        np.multiply(value, mask, out=result)
        return result

    return masked(x), masked


class Dropout(Layer):
    """Inverted dropout, as torch.nn.Dropout: identity at inference, a fresh mask at each training forward.

    ``p`` is the probability of a zero, in [0, 1]; ``rng`` a numpy Generator or a seed. x may have any shape.
    """

    pointwise = True

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        self.p = checks.number("p", p, 0, 1)
        self.rng = init.generator(rng)

    def __call__(self, x: Array) -> Array:
        """x itself."""
        return x

    def forward(self, x: Array) -> tuple[Array, Backward]:
        """The masked x, and a backward that maps dy to dx. Raises TypeError if x is not an array of floats."""
        if not isinstance(x, np.ndarray) or x.dtype.name not in checks.DTYPES:
            raise TypeError(f"x must be a float32 or float64 array, got {checks.describe(x)}")
        assert self.rng is not None
        y, masked = dropout_forward(x, self.p, self.rng)
        return y, lambda dy: masked(array("dy", dy, y.shape, x.dtype.name, "that of x"))

    def extra_repr(self) -> str:
        """As torch's."""
        return f"p={self.p:g}"
