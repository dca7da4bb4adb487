"""Dropout of whole tokens, which trains the embedding of ``<UNK>``: training text itself never contains it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import init
from .._core import checks
from .._core.arrays import Array
from .._core.batch_draws import uniforms
from ._recurrent.inputs import is_ids
from .base import Layer


class TokenDropout(Layer):
    """Word dropout (Iyyer et al. 2015, section 3.3): training replaces each token id by ``unk_id`` with probability p.

    It is the identity at inference. ``x`` holds integer token ids in any shape; ids below 0 mean no token and stay. ``p`` is
    in [0, 1], ``unk_id`` is at least 0, ``rng`` is a numpy Generator or a seed. Raises TypeError if x is not an array of
    integers.
    """

    pointwise = True

    def __init__(self, p: float, unk_id: int, *, rng: np.random.Generator | int | None = None) -> None:
        self.p = checks.number("p", p, 0, 1)
        self.unk_id = checks.positive_int("unk_id", unk_id, smallest=0)
        self.rng = init.generator(rng)

    def __call__(self, x: Array) -> Array:
        """Return x itself."""
        if not is_ids(x):
            raise TypeError(f"x must be an array of integer token ids, got {checks.describe(x)}")
        return x

    def forward(self, x: Array) -> tuple[Array, Callable[[Any], None]]:
        """Return the ids with some of them replaced, and a backward that returns None, because ids have no gradient."""
        x = self(x)
        assert self.rng is not None
        dropped = (uniforms(self.rng, x.shape, np.float32, (1, 0)) < self.p) & (x >= 0)
        return np.where(dropped, x.dtype.type(self.unk_id), x), lambda dy: None

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"p={self.p:g}, unk_id={self.unk_id}"
