"""The orthogonal factor of a matrix by Newton and Schulz's iteration, for :class:`fastrnn.optim.Muon`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._core.arrays import Array
from .._core.memory import empty, zeros
from .._core.precision import get_float32_matmul_precision
from .base import Backend

NS_STEPS = 5
# The coefficients of Jordan et al. 2024. Five steps move singular values between 0.01 and 1 into 0.68 to 1.14.
A, B, C = 3.4445, -4.7750, 2.0315
EPS = 1e-7
TOGETHER = 3  # steps from one X; each makes the rounding errors of G about 12 times as large


def orthogonalised(backend: Backend, matrix: Array, steps: int = NS_STEPS) -> Array:
    """Approximate U V^T of ``matrix [N, I]`` = U S V^T by ``steps`` of Newton and Schulz's iteration. Returns a new array.

    X is the matrix divided by its Frobenius norm (or by 1e-7, if that is larger). It is transposed first if it has more
    columns than rows. A step is ``X <- X P`` with ``P = a I + b G + c G^2`` and ``G = X^T X`` (Jordan et al. 2024, "Muon: an
    optimizer for hidden layers in neural networks"). P is a polynomial of G, so G becomes P G P, and three steps need X only
    before the first and after the last:

        G = X^T X, Q = I                              1
        P = a I + b G + c G^2, Q <- Q P, G <- P G P   2, in each step
        X <- X Q                                      3

    An LSTM's matrices [4H, H] take 60 H^3 multiply-adds, where five steps with X take 90 H^3. All sums are the backend's, so
    the result is the same for any number of threads.
    """
    wide = matrix.shape[1] > matrix.shape[0]
    X: Array = np.ascontiguousarray(matrix.T if wide else matrix)
    X = X / max(math.sqrt(backend.squares(backend.prepare_arrays([X]))), EPS)
    for start in range(0, steps, TOGETHER):
        X = _product(backend, X, _factor(backend, _gram(backend, X), min(TOGETHER, steps - start)))  # 1, 3
    return X.T if wide else X


def _factor(backend: Backend, G: Array, steps: int) -> Array:
    """Return the product Q of the P of some steps, from X^T X."""
    Q: Array | None = None
    for step in range(steps):
        P = B * G + C * _product(backend, G, G)  # 2
        P[np.diag_indices_from(P)] += A
        Q = P if Q is None else _product(backend, Q, P)
        if step < steps - 1:
            G = _product(backend, _product(backend, P, G), P)
    assert Q is not None
    return Q


def _gram(backend: Backend, X: Array) -> Array:
    """Return X^T X. A linear layer's weight has this gradient if its input and its output's gradient are both X."""
    n = X.shape[1]
    G = zeros((n, n), X.dtype)
    weight = empty((n, n), X.dtype)  # only its shape matters
    backend.linear_backward(_prepared(backend, weight), X, X, G, None, need_dx=False)
    return G


def _product(backend: Backend, X: Array, S: Array) -> Array:
    """Return X S for a symmetric S, as a linear layer of weight S without bias."""
    product: Array = backend.linear_forward(_prepared(backend, S), X)
    return product


def _prepared(backend: Backend, S: Array) -> Any:
    return backend.prepare_linear(S, None, get_float32_matmul_precision())
