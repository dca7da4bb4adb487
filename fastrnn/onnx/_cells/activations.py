"""Activation functions that ONNX allows in recurrent operators, with their parameters alpha and beta."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ...backends.reference import sigmoid

# Each function takes (x, alpha, beta).
FUNCTIONS: dict[str, Callable[[Array, Any, Any], Array]] = {
    "relu": lambda x, a, b: np.maximum(x, 0),
    "tanh": lambda x, a, b: np.tanh(x),
    "sigmoid": lambda x, a, b: sigmoid(x),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "thresholdedrelu": lambda x, a, b: np.where(x > a, x, 0),
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: np.logaddexp(x, 0),
}
# Defaults of the functions that have an alpha; of these, the ones in BETA have a beta too.
ALPHA = {"affine": 1.0, "leakyrelu": 0.01, "thresholdedrelu": 1.0, "scaledtanh": 1.0, "hardsigmoid": 0.2, "elu": 1.0}
BETA = {"affine": 0.0, "scaledtanh": 1.0, "hardsigmoid": 0.5}


@dataclass(frozen=True, slots=True)
class Function:
    """One activation function; ``name`` is in lower case."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __call__(self, x: Array) -> Array:
        """Return f(x) in x's dtype."""
        value = FUNCTIONS[self.name](x, x.dtype.type(self.alpha), x.dtype.type(self.beta))
        return np.asarray(value, x.dtype)


def functions(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> tuple[Function, ...]:
    """Return the functions of these names; those that have an alpha or a beta consume the given values in order.

    Raises ValueError for an unknown name or for values that no function consumes.
    """
    left_alphas, left_betas = iter(alphas), iter(betas)
    found = tuple(_function(name, left_alphas, left_betas) for name in names)
    for attribute, left in (("activation_alpha", left_alphas), ("activation_beta", left_betas)):
        if next(left, None) is not None:
            raise ValueError(f"{attribute} must hold one value for each activation that takes one, got more")
    return found


def _function(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Function:
    key = name.lower()
    if key not in FUNCTIONS:
        raise ValueError(f"activations must be among {', '.join(FUNCTIONS)}, got {name!r}")
    alpha = float(next(alphas, ALPHA[key])) if key in ALPHA else 0.0
    beta = float(next(betas, BETA[key])) if key in BETA else 0.0
    return Function(key, alpha, beta)
