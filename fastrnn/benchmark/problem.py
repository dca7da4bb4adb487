"""The arrays of a case: the same for every side."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cases import GATES, Case

Array = NDArray[Any]


class Problem:
    """Weights in torch's layouts and names, inputs and gradients, float32, drawn from a seed."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = np.random.default_rng(0)
        G, H, I = GATES[case.cell], case.H, case.I  # noqa: E741
        self.W, self.R = self._weights(G * H, I), self._weights(G * H, H)
        self.b_ih, self.b_hh = self._weights(G * H), self._weights(G * H)

    def _weights(self, *shape: int) -> Array:
        bound = 1 / np.sqrt(self.case.H)
        return self.rng.uniform(-bound, bound, shape).astype(np.float32)

    @cached_property
    def x(self) -> Array:
        """``[T, B, I]``."""
        return self.rng.standard_normal((self.case.T, self.case.B, self.case.I), dtype=np.float32)

    @cached_property
    def dy(self) -> Array:
        """``[T, B, H]``."""
        return self.rng.standard_normal((self.case.T, self.case.B, self.case.H), dtype=np.float32)

    @property
    def state_dict(self) -> dict[str, Array]:
        """By the names that torch and fastrnn share."""
        arrays = (self.W, self.R, self.b_ih, self.b_hh)
        return dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), arrays, strict=True))
