"""Arrays of a case; all libraries that are compared get the same."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .._core.arrays import Array
from .cases import DENORMAL, GATES, LENGTHS, Case


class Problem:
    """Weights in torch's layouts and names, inputs and gradients: float32, drawn from a seed."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = np.random.default_rng(0)
        G, H, I = GATES[case.cell], case.H, case.I  # noqa: E741
        self.W, self.R = self._weights(G * H, I), self._weights(G * H, H)
        self.b_ih, self.b_hh = self._weights(G * H), self._weights(G * H)
        if case.variant == DENORMAL:  # without bias, all values that follow from a denormal input are denormal
            self.b_ih, self.b_hh = np.zeros_like(self.b_ih), np.zeros_like(self.b_hh)

    def _weights(self, *shape: int) -> Array:
        bound = 1 / np.sqrt(self.case.H)
        return self.rng.uniform(-bound, bound, shape).astype(np.float32)

    @cached_property
    def x(self) -> Array:
        """The input ``[T, B, I]``."""
        x = self.rng.standard_normal((self.case.T, self.case.B, self.case.I), dtype=np.float32)
        return x * np.float32(1e-39) if self.case.variant == DENORMAL else x

    @cached_property
    def lengths(self) -> Array | None:
        """Lengths ``[B]``, uniform in 1..T with at least one T, for the variant of lengths; else None."""
        if self.case.variant != LENGTHS:
            return None
        lengths = np.random.default_rng(1).integers(1, self.case.T + 1, self.case.B)
        lengths[0] = self.case.T
        return lengths

    @cached_property
    def dy(self) -> Array:
        """The gradient of y, ``[T, B, H]``."""
        return self.rng.standard_normal((self.case.T, self.case.B, self.case.H), dtype=np.float32)

    @property
    def state_dict(self) -> dict[str, Array]:
        """The weights by the names that torch and fastrnn share."""
        arrays = (self.W, self.R, self.b_ih, self.b_hh)
        return dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), arrays, strict=True))
