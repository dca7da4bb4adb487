"""Activation functions as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core import checks
from .._core.arrays import Array
from ._recurrent.inputs import array, floats
from ._symbolic.symbols import Nest, Spec
from .base import Layer

Derivative = Callable[[Array, Array], Array]  # dx from dy and from y or x


def _softmax(x: Array) -> Array:
    e: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


_A, _B = (2 / np.pi) ** 0.5, 0.044715


def _gelu_tanh(x: Array) -> Array:
    y: Array = 0.5 * x * (1 + np.tanh(_A * (x + _B * x**3)))
    return y


def _gelu_tanh_backward(dy: Array, x: Array) -> Array:
    t = np.tanh(_A * (x + _B * x**3))
    dx: Array = dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _A * (1 + 3 * _B * x * x))
    return dx


# The function, its derivative, and True if the derivative is computed from y, False if from x.
_FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Derivative, bool]] = {
    "tanh": (np.tanh, lambda dy, y: dy * (1 - y * y), True),
    "relu": (lambda x: np.maximum(x, 0), lambda dy, y: dy * (y > 0), True),
    "sigmoid": (
        lambda x: 0.5 * np.tanh(0.5 * x) + 0.5,  # no exponential to overflow
        lambda dy, y: dy * (y * (1 - y)),
        True,
    ),
    "softmax": (_softmax, lambda dy, y: y * (dy - np.sum(dy * y, axis=-1, keepdims=True)), True),
    "softplus": (
        lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        lambda dy, y: dy * -np.expm1(-y),  # sigmoid(x) = 1 - exp(-softplus(x))
        True,
    ),
    "gelu_tanh": (_gelu_tanh, _gelu_tanh_backward, False),
}


class Activation(Layer):
    """Activation function, chosen by name: ``Activation("tanh")``.

    x is float32 or float64, of any shape with at least one axis; y has the same shape and dtype.

    ``tanh``, ``relu``
        tanh(x), max(0, x)
    ``sigmoid``
        1 / (1 + exp(-x))
    ``softmax``
        over the last axis
    ``softplus``
        log(1 + exp(x))
    ``gelu_tanh``
        0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as torch.nn.GELU(approximate="tanh") (Hendrycks & Gimpel 2016)

    For training, prefer the losses on logits (:mod:`fastrnn.losses`): they are faster and numerically more stable than a
    softmax or sigmoid layer with a loss on top of it. Raises ValueError for an unknown name or an x without a last axis,
    TypeError if x is not an array of floats.
    """

    pointwise = True

    def __init__(self, function: str) -> None:
        self.function = checks.choice("function", function, tuple(_FUNCTIONS))

    def __call__(self, x: Array) -> Array:
        """Return the function's values."""
        with np.errstate(invalid="ignore", over="ignore"):  # infinities and NaN follow IEEE rules without warnings
            return _FUNCTIONS[self.function][0](self._check(x))

    def forward(self, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Return y and a backward that maps dy to dx. x and y must not change until it has run."""
        _, derivative, from_y = _FUNCTIONS[self.function]
        y = self(x)
        saved = y if from_y else x
        return y, lambda dy: derivative(array("dy", dy, saved.shape, saved.dtype.name, "that of x"), saved)

    def infer(self, x: Nest, *others: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        if self.function == "softmax" and isinstance(x, Spec) and x.shape and isinstance(x.shape[-1], str):
            raise ValueError(f"x must have a last axis of fixed size for softmax, got {x.shape[-1]}")
        return super().infer(x, *others, **options)

    def _check(self, x: Array) -> Array:
        if not floats("x", x).ndim or (self.function == "softmax" and not x.shape[-1]):
            raise ValueError(f"x must have a last axis (for softmax, not empty), got {checks.describe(x)}")
        return x

    def extra_repr(self) -> str:
        """Return the function's name."""
        return repr(self.function)
