"""One cell on Keras' NumPy backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.structs import CellSpec, StackSpec, Weights
from ..functional import stack_forward
from ._weights import arrays_of, torch_order

FIRST_OUTPUT_IS_STATE = True  # masked steps before the first valid one repeat the initial state


def is_true(value: Any) -> bool:
    """Return a boolean scalar's value."""
    return bool(value)


def run(options: dict[str, Any], cell: Any, x: Any, states: list[Any], lengths: Any) -> list[Any]:
    """Return ``y [B,T,H], h_n [B,H]``, and c_n for LSTM."""
    weights = torch_order(options["cell"], arrays_of(cell), np.concatenate, np.zeros_like)
    spec = CellSpec(input_size=x.shape[-1], hidden_size=cell.units, dtype=x.dtype.name, **options)
    out = stack_forward(
        StackSpec(spec), [Weights(*weights)], x, *(state[None] for state in states),
        lengths=lengths, batch_first=True, keep_tape=False,
    )  # fmt: skip
    return [out.y, out.h_n[0]] if out.c_n is None else [out.y, out.h_n[0], out.c_n[0]]
