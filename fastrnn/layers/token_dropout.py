"""Dropout of whole tokens, which trains the embedding of ``<UNK>``: training text itself never contains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    in [0, 1], or a list or array ``[V]`` with one for each id: ``a / (a + count)`` drops rare tokens more often (Kiperwasser
    & Goldberg 2016). ``unk_id`` is at least 0, ``rng`` is a numpy Generator or a seed.

    Raises TypeError if x is not an array of integers, and ValueError in training for an id that has no ``p``.
    """

    pointwise = True

    def __init__(
        self, p: float | Sequence[float] | Array, unk_id: int, *, rng: np.random.Generator | int | None = None
    ) -> None:
        self.p = p
        self.unk_id = unk_id
        self.rng = init.generator(rng)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "p":
            value = _probabilities(value) if isinstance(value, (Sequence, np.ndarray)) else checks.number("p", value, 0, 1)
        elif name == "unk_id":
            value = checks.positive_int("unk_id", value, smallest=0)
        super().__setattr__(name, value)

    def __call__(self, x: Array) -> Array:
        """Return x itself."""
        if not is_ids(x):
            raise TypeError(f"x must be an array of integer token ids, got {checks.describe(x)}")
        return x

    def forward(self, x: Array) -> tuple[Array, Callable[[Any], None]]:
        """Return the ids with some of them replaced, and a backward that returns None, because ids have no gradient."""
        x = self(x)
        assert self.rng is not None
        p = self.p
        if isinstance(p, np.ndarray):
            if x.size and x.max() >= len(p):
                raise ValueError(f"x must hold token ids below {len(p)}, the length of p, got {x.max()}")
            p = p[np.maximum(x, 0)]
        dropped = (uniforms(self.rng, x.shape, np.float32, (1, 0)) < p) & (x >= 0)
        wide = np.promote_types(x.dtype, np.min_scalar_type(self.unk_id))  # uint8 does not hold an unk_id of 300
        return np.where(dropped, wide.type(self.unk_id), x), lambda dy: None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; see :meth:`Layer.config`."""
        return {"p": self.p.tolist() if isinstance(self.p, np.ndarray) else self.p, "unk_id": self.unk_id}

    def extra_repr(self) -> str:
        """Return the arguments."""
        p = f"one of {len(self.p)}" if isinstance(self.p, np.ndarray) else f"{self.p:g}"
        return f"p={p}, unk_id={self.unk_id}"


def _probabilities(p: Any) -> Array:
    """Return probabilities as float64 ``[V]``. Raises TypeError or ValueError."""
    array = checks.regular("p", p, "be numbers [V]")
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise TypeError(f"p must be a number or numbers [V], got {checks.describe(p)}")
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"p must lie in [0, 1], got {array[~((array >= 0) & (array <= 1))][0]}")
    return array.astype(np.float64)
