"""Description of a stack of tensors' shapes, as the ops take it: a cell's name and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from ..backends.structs import CellSpec, StackSpec, Weights
from ..layers._recurrent.part import TORCH_NAMES

# Cells by the name that the ops take, as options of CellSpec.
CELLS: dict[str, dict[str, Any]] = {
    "RNN_TANH": {"cell": "rnn", "nonlinearity": "tanh"},
    "RNN_RELU": {"cell": "rnn", "nonlinearity": "relu"},
    "GRU": {"cell": "gru"},
    "GRU_RESET_BEFORE": {"cell": "gru", "reset_after": False},
    "GRU_NO_RESET": {"cell": "gru", "reset_gate": False},
    "LSTM": {"cell": "lstm"},
    "LSTM_PEEPHOLE": {"cell": "lstm", "peephole": True},
}
# Cells that torch has as well.
TORCHS = ("RNN_TANH", "RNN_RELU", "GRU", "LSTM")


class Stack:
    """Stacked layers of one cell, without parameters.

    ``names`` holds the names in :class:`Weights` of one part's parameters, in the order of torch's ``_flat_weights``.
    """

    __slots__ = ("cell", "has_c", "names", "spec")

    def __init__(self, cell: str, spec: StackSpec, bias: bool) -> None:
        self.cell, self.spec = cell, spec
        self.has_c = spec.cell.cell == "lstm"
        options = {"projection": spec.cell.proj_size, "peephole": spec.cell.peephole}
        self.names = ("W", "R", *(("b_ih", "b_hh") if bias else ()), *(name for name, present in options.items() if present))

    def by_part(self, arrays: Sequence[Any]) -> list[Weights]:
        """Return arrays in the order of the parameters as the weights of each part."""
        n = len(self.names)
        return [Weights(**dict(zip(self.names, arrays[i : i + n], strict=True))) for i in range(0, len(arrays), n)]

    def check(self, weights: Sequence[Any]) -> None:
        """Raise RuntimeError for a parameter of another shape, dtype or device: the kernels would read past its end."""
        wanted = [self.spec.layer(i // self.spec.directions).shapes("b_ih" in self.names) for i in range(self.spec.parts)]
        shapes = [(part, name, own[name]) for part, own in enumerate(wanted) for name in self.names]
        for w, (part, name, shape) in zip(weights, shapes, strict=True):
            if w.shape != shape or w.dtype != weights[0].dtype or not w.is_cpu:
                layer, direction = divmod(part, self.spec.directions)
                name = f"{TORCH_NAMES[name]}_l{layer}{'_reverse' if direction else ''}"
                got = f"{tuple(w.shape)}, {w.dtype} on {w.device}"
                raise RuntimeError(f"{name} must be {shape}, {weights[0].dtype} on the device of the input, cpu, got {got}")

    def in_order(self, parts: Sequence[Weights]) -> list[Any]:
        """Return the arrays of all parts in the order of the parameters."""
        return [getattr(part, name) for part in parts for name in self.names]


@lru_cache(1024)
def stack(
    cell: str,
    layers: int,
    directions: int,
    I: int,  # noqa: E741 - the field's letters
    H: int,
    P: int,
    bias: bool,
    dtype: torch.dtype,
) -> Stack:
    """Return the stack of these sizes, the same object at each call."""
    spec = CellSpec(input_size=I, hidden_size=H, proj_size=P, dtype=str(dtype).removeprefix("torch."), **CELLS[cell])
    return Stack(cell, StackSpec(spec, layers, directions), bias)


GATES = {name: CellSpec(input_size=1, hidden_size=1, **options).gates for name, options in CELLS.items()}


def stack_of(cell: str, layers: int, directions: int, weights: Sequence[torch.Tensor]) -> Stack:
    """Return the stack that has these parameters."""
    # int() fixes a symbolic size: a traced graph is valid for these weights only.
    rows, I, Y = map(int, (*weights[0].shape, weights[1].shape[1]))  # noqa: E741 - the field's letters
    H = rows // GATES[cell]
    peephole = cell == "LSTM_PEEPHOLE"
    bias = len(weights) // (layers * directions) - peephole - (H != Y) == 4
    return stack(cell, layers, directions, I, H, 0 if Y == H else Y, bias, weights[0].dtype)
