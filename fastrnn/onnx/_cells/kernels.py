"""The kernels for ONNX's RNN, GRU and LSTM. Gate orders are permuted here only."""

from __future__ import annotations

import numpy as np

from ..._core.arrays import Array
from ...backends.structs import CellSpec, StackSpec, Weights
from .spec import DEFAULTS, GATES, NodeSpec

# Indices into ONNX's gates (i o f c, z r h; P's i o f) that give the kernels' order (i f g o, r z n; i f o), and the
# reverse.
FROM_ONNX = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
TO_ONNX = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
PEEPHOLE = (0, 2, 1)


def permuted(array: Array, order: tuple[int, ...]) -> Array:
    """Return a contiguous copy whose rows, in ``len(order)`` equal blocks, stand in this order."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[i] for i in order])


def obstacle(spec: NodeSpec) -> str | None:
    """Return the attribute that the kernels do not support, or None if they can run the node."""
    if spec.clip is not None:
        return f"clip={spec.clip:g}"
    if spec.input_forget:
        return "input_forget=1"
    names = {tuple(f.name for f in functions) for functions in spec.activations}
    possible = [tuple(name.lower() for name in DEFAULTS[spec.op])] + [("relu",)] * (spec.op == "RNN")
    if len(names) > 1 or not names <= set(possible):
        return f"activations={[f.name for functions in spec.activations for f in functions]}"
    return None


def stack_of(spec: NodeSpec, input_size: int, dtype: str, peephole: bool) -> StackSpec:
    """Return the kernels' specification of a node without :func:`obstacle`."""
    nonlinearity = spec.activations[0][0].name if spec.op == "RNN" else "tanh"
    cell = CellSpec(
        spec.op.lower(), input_size, spec.hidden_size, dtype, nonlinearity,
        reset_after=spec.linear_before_reset or spec.op != "GRU", peephole=peephole,
    )  # fmt: skip
    return StackSpec(cell, 1, spec.directions, spec.direction == "reverse")


def weights_of(op: str, W: Array, R: Array, B: Array | None, P: Array | None) -> list[Weights]:
    """Return the kernels' weights for each direction: ``W [D,G*H,I]``, ``R [D,G*H,H]``, ``B [D,2*G*H]``, ``P [D,3*H]``."""
    order, rows = FROM_ONNX[op], R.shape[1]
    assert rows % GATES[op] == 0
    found = []
    for d in range(len(W)):
        biases = [None, None] if B is None else [permuted(half, order) for half in (B[d, :rows], B[d, rows:])]
        peephole = None if P is None else permuted(P[d], PEEPHOLE)
        found.append(Weights(permuted(W[d], order), permuted(R[d], order), biases[0], biases[1], peephole))
    return found
