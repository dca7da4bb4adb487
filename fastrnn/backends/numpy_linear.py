"""Linear layer in NumPy, for backends without their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core.arrays import Array
from .._core.memory import empty


class NumpyLinear:
    """Linear part of :class:`fastrnn.backends.base.Backend`, whose prepared layer is (weight, bias)."""

    def prepare_linear(self, weight: Array, bias: Array | None, precision: str = "highest") -> Any:
        """Return the weights unchanged; all products are of the arrays' dtype."""
        return weight, bias

    def linear_forward(self, prepared: Any, x: Array) -> Array:
        """Return y = x weight^T + bias."""
        weight, bias = prepared
        y = np.matmul(x, weight.T, out=empty((len(x), len(weight)), x.dtype))
        if bias is not None:
            y += bias
        return y

    def bind_linear(self, prepared: Any, x: Array, y: Array) -> Callable[[], object]:
        """Return a function that overwrites y with :meth:`linear_forward` of x, at each call; both are C-contiguous."""
        return lambda: np.copyto(y, self.linear_forward(prepared, x))

    def linear_backward(
        self, prepared: Any, x: Array, dy: Array, dW: Array, db: Array | None, *, need_dx: bool = True
    ) -> Array | None:
        """Return dx = dy weight, or None without ``need_dx``; add dy^T x into dW and the sum of dy's rows into db."""
        dW += np.matmul(dy.T, x, out=empty(dW.shape, dW.dtype))
        if db is not None:
            db += dy.sum(axis=0)
        return np.matmul(dy, prepared[0], out=empty(x.shape, x.dtype)) if need_dx else None
