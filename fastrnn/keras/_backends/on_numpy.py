"""One cell on Keras' NumPy backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...backends.structs import CellSpec, StackSpec, Weights
from ...functional import StackOutput, stack_forward
from .._weights import NUMPY, arrays_of, torch_order

FIRST_OUTPUT_IS_STATE = True


def known(value: Any) -> bool:
    """Return a boolean scalar's value."""
    return bool(value)


def run(options: dict[str, Any], cell: Any, x: Any, states: list[Any], lengths: Any) -> list[Any]:
    """Return ``y [B,T,H], h_n [B,H]``, and c_n for LSTM."""
    weights = torch_order(options["cell"], arrays_of(cell), NUMPY)
    return outputs(forward(spec_of(options, cell, x), weights, x, states, lengths))


def spec_of(options: dict[str, Any], cell: Any, x: Any) -> CellSpec:
    """Return the spec of a Keras cell for an input ``[B, T, I]``."""
    return CellSpec(input_size=x.shape[-1], hidden_size=cell.units, dtype=x.dtype.name, **options)


def forward(
    spec: CellSpec, weights: Sequence[Any], x: Any, states: Sequence[Any], lengths: Any, keep_tape: bool = False
) -> StackOutput:
    """Run a cell on arrays: x ``[B, T, I]``, states ``[B, H]``, weights in torch's order."""
    return stack_forward(
        StackSpec(spec), [Weights(*weights)], x, *(state[None] for state in states),
        lengths=lengths, batch_first=True, keep_tape=keep_tape,
    )  # fmt: skip


def outputs(out: StackOutput) -> list[Any]:
    """Return ``y [B,T,H], h_n [B,H]``, and c_n for LSTM."""
    return [out.y, out.h_n[0]] if out.c_n is None else [out.y, out.h_n[0], out.c_n[0]]
