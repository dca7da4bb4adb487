"""One cell on Keras' JAX backend, differentiable, also inside ``jit``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ...jax import gru, lstm, rnn
from .._unsupported import Unsupported
from .._weights import Library, arrays_of, torch_order

FIRST_OUTPUT_IS_STATE = True
JAX = Library(jnp.concatenate, jnp.zeros_like, jnp.transpose)
CELLS: dict[str, Any] = {"lstm": lstm, "gru": gru, "rnn": rnn}


def known(value: Any) -> bool | None:
    """Return a boolean scalar's value, or None inside a compiled call."""
    try:
        return bool(value)
    except jax.errors.TracerBoolConversionError:
        return None


def run(options: dict[str, Any], cell: Any, x: Any, states: list[Any], lengths: Any) -> list[Any]:
    """Return ``y [B,T,H], h_n [B,H]``, and c_n for LSTM. Raises Unsupported for another device and for symbolic sizes."""
    if jax.default_backend() != "cpu":
        raise Unsupported(f"device {jax.default_backend()}")
    if not all(isinstance(size, int) for size in x.shape):
        raise Unsupported("symbolic sizes")
    weights = torch_order(options["cell"], arrays_of(cell), JAX)
    own = {name: value for name, value in options.items() if name != "cell"}
    return list(CELLS[options["cell"]](x, *states, *weights, lengths=lengths, batch_first=True, **own))
