"""Recurrent layers and cells as ONNX nodes, one for each layer of a stack."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from ...backends.structs import Weights
from ...layers._recurrent.base import Recurrent
from ...layers._recurrent.cell_layers import RecurrentCell
from ...layers._symbolic.symbols import Nest, Spec
from .._cells.kernels import PEEPHOLE, TO_ONNX, permuted
from .emitter import Emitter

# In a GRU without a reset gate, r is the sigmoid of this bias: 1, exactly, in float32 and in float64.
OPEN = 100.0
MERGES = {"sum": "Add", "average": "Add", "mul": "Mul"}


def recurrent(e: Emitter, layer: Recurrent, args: tuple[Nest, ...], specs: tuple[Nest, ...], options: Any) -> Nest:
    """Return the names of ``y, h_n`` or ``y, (h_n, c_n)``."""
    if options.get("return_cell_states"):
        raise ValueError("ONNX's LSTM has no output for the cell states of all steps")
    x, spec = args[0], specs[0]
    axis = spec.shape[1] if layer.batch_first else spec.shape[0]
    if layer.batch_first:
        x = e.swapped(x, len(spec.shape))
    x = vectors(e, x, spec, layer.input_size, layer.dtype)
    D, H = (2 if layer.bidirectional else 1), layer.hidden_size
    initial = _halves(args[1] if len(args) > 1 else None)
    states: list[list[str]] = []
    for i in range(layer.num_layers):
        parts = [part.weights() for part in layer.stack.parts[i * D : (i + 1) * D]]
        own = [_part_of(e, half, i, D, layer.num_layers) for half in initial]
        y, *last = node(e, layer, parts, x, own, e.lengths.get(axis, ""))
        states.append(last)
        x = _merged(e, y, layer.merge, D, H, layer.dtype)
    if layer.batch_first:
        x = e.swapped(x, 3)
    halves = [e.node("Concat", *half, axis=0) if len(half) > 1 else half[0] for half in zip(*states, strict=True)]
    return x, halves[0] if len(halves) == 1 else tuple(halves)


def cell(e: Emitter, layer: RecurrentCell, args: tuple[Nest, ...], specs: tuple[Nest, ...], options: Any) -> Nest:
    """Return the name of ``h``, or the names of ``(h, c)``."""
    zero = e.ints(0)
    x = vectors(
        e, e.node("Unsqueeze", args[0], zero), Spec((1, *specs[0].shape), specs[0].dtype), layer.input_size, layer.dtype
    )
    initial = [half and e.node("Unsqueeze", half, zero) for half in _halves(args[1] if len(args) > 1 else None)]
    (part,) = layer._stack.parts
    _, *last = node(e, layer, [part.weights()], x, initial, "")
    halves = [e.node("Squeeze", half, zero) for half in last]
    return halves[0] if len(halves) == 1 else tuple(halves)


def vectors(e: Emitter, x: str, spec: Spec, size: int, dtype: str) -> str:
    """Return x, or one-hot vectors for ids; id -1 becomes the last of size + 1 classes, which is cut off."""
    if not spec.dtype.startswith("int"):
        return x
    values, depth = e.constant(np.array([0, 1], dtype)), e.scalar(size + 1, "int64")
    return e.node("Slice", e.node("OneHot", x, depth, values, axis=-1), e.ints(0), e.ints(size), e.ints(-1))


def _halves(state: Nest) -> list[str]:
    """Return the names of h and, for an LSTM, c; "" for a missing one."""
    return [half or "" for half in state] if isinstance(state, tuple) else [state or ""]


def _part_of(e: Emitter, half: str, i: int, D: int, layers: int) -> str:
    if not half or layers == 1:
        return half
    return e.node("Slice", half, e.ints(i * D), e.ints((i + 1) * D), e.ints(0))


def node(e: Emitter, layer: Any, parts: list[Weights], x: str, initial: list[str], lengths: str) -> list[str]:
    """Add the node of one layer; returns the names of ``Y [T,D,B,H]``, ``Y_h [D,B,H]`` and, for an LSTM, ``Y_c``."""
    op = layer.cell.upper()
    if getattr(layer, "proj_size", 0):
        raise ValueError("ONNX's LSTM has no projection (proj_size)")
    options: dict[str, Any] = {"hidden_size": layer.hidden_size}
    if len(parts) == 2:
        options["direction"] = "bidirectional"
    if getattr(layer, "nonlinearity", "tanh") == "relu":
        options["activations"] = ["Relu"] * len(parts)
    gate = getattr(layer, "reset_gate", True)
    if op == "GRU":
        options["linear_before_reset"] = int(layer.reset_after or not gate)
    parts = parts if gate else [_with_open_gate(part) for part in parts]
    order = TO_ONNX[op]
    W, R = (np.stack([permuted(getattr(part, name), order) for part in parts]) for name in "WR")
    biases = [[permuted(b, order) for b in (part.b_ih, part.b_hh) if b is not None] for part in parts]
    bias = e.constant(np.stack([np.concatenate(each) for each in biases]), "B") if biases[0] else ""
    peepholes = [permuted(part.peephole, PEEPHOLE) for part in parts if part.peephole is not None]
    h, c = [*initial, "", ""][:2]
    inputs = [x, e.constant(W, "W"), e.constant(R, "R"), bias, lengths, h]
    if op == "LSTM":
        inputs += [c, e.constant(np.stack(peepholes), "P") if peepholes else ""]
    while not inputs[-1]:
        inputs.pop()
    return e.nodes_of(op, inputs, 3 if op == "LSTM" else 2, **options)


def _with_open_gate(part: Weights) -> Weights:
    """Convert the weights of a GRU without a reset gate (z n) to those of a GRU (r z n) whose gate r is always 1."""
    H = part.R.shape[1]

    def widened(array: Array, fill: float) -> Array:
        return np.concatenate([np.full((H, *array.shape[1:]), fill, array.dtype), array])

    rows = len(part.R)
    b_ih, b_hh = (np.zeros(rows, part.W.dtype) if b is None else b for b in (part.b_ih, part.b_hh))
    return Weights(widened(part.W, 0), widened(part.R, 0), widened(b_ih, OPEN), widened(b_hh, 0))


def _merged(e: Emitter, Y: str, merge: str, D: int, H: int, dtype: str) -> str:
    """Return ``y [T,B,D*H]``, or ``[T,B,H]`` for a merge mode, from ``Y [T,D,B,H]``."""
    if D == 1:
        return e.node("Squeeze", Y, e.ints(1))
    if merge == "concat":
        return e.node("Reshape", e.node("Transpose", Y, perm=[0, 2, 1, 3]), e.ints(0, 0, D * H))
    a, b = (e.node("Squeeze", half, e.ints(1)) for half in e.nodes_of("Split", [Y], 2, axis=1))
    y = e.node(MERGES[merge], a, b)
    return e.node("Mul", y, e.scalar(0.5, dtype)) if merge == "average" else y
