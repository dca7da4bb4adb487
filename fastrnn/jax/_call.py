"""One call of a layer as JAX traces it: its settings, and the shapes of its outputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import backends
from ..backends.structs import BATCH_MAJOR, StackSpec


class Call(NamedTuple):
    """Settings that are fixed when a call is traced: the stack of one part, the order of the rows of x, and the way to run.

    ``direct``: XLA's programs call the kernels (``_ffi.py``); otherwise they call Python (``_callback.py``).
    """

    stack: StackSpec
    rows: str
    direct: bool

    @property
    def batch_axis(self) -> int:
        """The axis of B in x and y."""
        return 0 if self.rows == BATCH_MAJOR else 1

    def outputs(self, x: Any, training: bool) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Return the shapes of ``y, h_n[, c_n]``, and in training of the tape, whose bytes are none if it is no memory."""
        cell, B, T = self.stack.cell, x.shape[self.batch_axis], x.shape[1 - self.batch_axis]
        state = jax.ShapeDtypeStruct((B, cell.hidden_size), x.dtype)
        y = jax.ShapeDtypeStruct((*x.shape[:2], cell.hidden_size), x.dtype)
        found = y, *[state] * (2 if cell.cell == "lstm" else 1)
        if not training:
            return found
        fixed, per_step, per_sequence, per_row = backends.current(None).tape_size(self.stack)
        return *found, jax.ShapeDtypeStruct((fixed + per_step * T + per_sequence * B + per_row * T * B,), jnp.uint8)


def like(arrays: Any) -> Any:
    """Return the shapes and dtypes of a tree of arrays."""
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arrays)
