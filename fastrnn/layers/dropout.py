"""Dropout: in training each value is zero with probability p, else scaled by 1/(1-p) (Srivastava et al. 2014).

Each value has its own draw, or all time steps of a sequence share one (Gal & Ghahramani 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import init
from .._core import checks, memory
from .._core.arrays import Array
from .._core.batch_draws import uniforms
from ._recurrent.inputs import array, floats
from .base import Layer

Backward = Callable[[Array], Array]


def draw_mask(shape: tuple[int, ...], dtype: Any, p: float, rng: np.random.Generator, axes: tuple[int, ...] = ()) -> Array:
    """Return a new mask: 0 with probability p, else 1/(1-p). ``axes`` may be the batch, as in :func:`uniforms`."""
    mask = uniforms(rng, shape, dtype, axes)
    np.greater_equal(mask, p, out=mask, casting="unsafe")
    mask *= 0.0 if p == 1 else 1 / (1 - p)
    return mask


def dropout_forward(x: Array, p: float, rng: np.random.Generator, *, one_mask: bool = False) -> tuple[Array, Backward]:
    """Return x times a new mask of zeros and 1/(1-p), and the backward that applies the same mask.

    With ``one_mask``, all steps along the first axis share the mask.
    """
    if p == 0:
        return x, lambda dy: dy
    axes = (1, 0) if x.ndim > 2 and not one_mask else (0, 1)  # [T, B, ...], else [B, ...]
    mask = draw_mask(x.shape[1:] if one_mask else x.shape, x.dtype, p, rng, axes)

    def masked(value: Array) -> Array:
        result = memory.empty(value.shape, value.dtype)
        with np.errstate(invalid="ignore"):  # padding may hold infinity
            np.multiply(value, mask, out=result)
        return result

    return masked(x), masked


class Dropout(Layer):
    """Inverted dropout, as torch.nn.Dropout: identity at inference, a new mask in each training forward pass.

    ``p`` is the probability of a zero, in [0, 1]; ``rng`` a numpy Generator or a seed. x may have any shape.
    """

    pointwise = True

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        self.p = p
        self.rng = init.generator(rng)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, checks.number("p", value, 0, 1) if name == "p" else value)

    def __call__(self, x: Array) -> Array:
        """Return x itself."""
        return x

    def forward(self, x: Array) -> tuple[Array, Backward]:
        """Return the masked x and a backward that maps dy to dx. Raises TypeError if x is not an array of floats."""
        floats("x", x)
        assert self.rng is not None
        y, masked = dropout_forward(x, self.p, self.rng)
        return y, lambda dy: masked(array("dy", dy, y.shape, x.dtype.name, "that of x"))

    def extra_repr(self) -> str:
        """Return torch's form, ``p=0.5``."""
        return f"p={self.p:g}"


class VariationalDropout(Dropout):
    """Dropout with one mask for all steps of a sequence (Gal & Ghahramani 2016): identity at inference.

    A training forward pass draws a mask ``[B, ...]`` for ``x [T, B, ...]``, so a sequence loses the same features at every
    step. ``p`` is the probability of a zero, in [0, 1]; ``rng`` is a numpy Generator or a seed. Recurrent layers have this
    dropout built in for their inputs and states: ``input_dropout``, ``recurrent_dropout``. Raises TypeError if x is not an
    array of floats, ValueError if it does not have the axes ``[T, B, ...]``.
    """

    reads_time = True

    def __call__(self, x: Array) -> Array:
        """Return x itself."""
        return self._check(x)

    def forward(self, x: Array) -> tuple[Array, Backward]:
        """Return the masked x and a backward that maps dy to dx."""
        assert self.rng is not None
        y, masked = dropout_forward(self._check(x), self.p, self.rng, one_mask=True)
        return y, lambda dy: masked(array("dy", dy, y.shape, y.dtype.name, "that of x"))

    def _check(self, x: Array) -> Array:
        if floats("x", x).ndim < 3:
            raise ValueError(f"x must have at least three axes [T, B, ...], got {checks.describe(x)}")
        return x
