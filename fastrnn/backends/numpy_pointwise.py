"""Functions of single values in NumPy, for backends without their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._core.arrays import Array


class NumpyPointwise:
    """Pointwise part of :class:`fastrnn.backends.base.Backend`."""

    def bind_pointwise(self, function: str, x: Array, y: Array) -> Callable[[], object]:
        """Return a function that overwrites y with a function of x's values, at each call.

        ``function`` is ``"sigmoid"``, ``"tanh"`` or ``"swish"``, x times its sigmoid. Both are C-contiguous; y may be x.
        """
        if function == "tanh":
            return lambda: np.tanh(x, y)

        def run() -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # an infinite exponential gives the right 0
                s = 1 / (1 + np.exp(-x))
                np.copyto(y, s if function == "sigmoid" else x * s)

        return run
