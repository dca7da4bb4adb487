"""RNN, GRU and LSTM nodes as layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from ...layers import GRU, LSTM, RNN
from ...layers._recurrent.base import Recurrent
from .._cells import kernels
from .._cells.spec import check_weights, node_spec
from .._graph import Node
from .values import Anything, Directions, Value, Zero


def recurrent(node: Node, *inputs: Anything) -> tuple[Anything, ...]:
    """Return the outputs Y, Y_h and, for an LSTM, Y_c."""
    x, W, R, B, _, h, c, P = [*inputs, *[None] * 8][:8]
    if not isinstance(x, Value) or not isinstance(W, np.ndarray) or not isinstance(R, np.ndarray):
        raise ValueError("X must depend on an input, and W and R must be constants")
    spec = node_spec(node.op, node.attributes, R)
    reason = kernels.obstacle(spec) or ("direction=reverse" if spec.direction == "reverse" else None)
    if reason:
        raise ValueError(f"the layers have no {reason}")
    if x.swapped != bool(spec.layout):
        raise ValueError("time must be the first axis of X in layout 0, and the second in layout 1")
    input_size = x.shape[2]
    if not isinstance(input_size, int):
        raise ValueError("the features of X must have a fixed size")
    weights = W, R, _array("B", B), _array("P", P)
    check_weights(spec, input_size, *weights)
    layer = _layer(node.op, spec, *weights)
    state = _state(node.op, h, c)
    y, last = layer(x.symbol) if state is None else layer(x.symbol, state)
    halves = last if isinstance(last, tuple) else (last,)
    return Directions(y, spec.directions, "BTDH" if spec.layout else "TDBH"), *(
        Value(half, bool(spec.layout)) for half in halves
    )


def _array(name: str, value: Anything) -> Array | None:
    if value is None or isinstance(value, np.ndarray):
        return value
    raise ValueError(f"{name} must be a constant")


def _layer(op: str, spec: Any, W: Array, R: Array, B: Array | None, P: Array | None) -> Recurrent:
    """Return a layer with these weights."""
    kind: dict[str, type[Recurrent]] = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}
    options: dict[str, Any] = {"bias": B is not None, "bidirectional": spec.directions == 2, "dtype": W.dtype.name, "rng": 0}
    if op == "RNN":
        options["nonlinearity"] = spec.activations[0][0].name
    elif op == "GRU":
        options["reset_after"] = spec.linear_before_reset
    else:
        options["peephole"] = P is not None
    layer = kind[op](W.shape[2], spec.hidden_size, **options)
    for part, weights in zip(layer.stack.parts, kernels.weights_of(op, W, R, B, P), strict=True):
        for field, array in weights.items():
            part.parameters[field].assign(array)
    return layer


def _state(op: str, *halves: Anything) -> Any:
    """Return the symbols of the initial state, or None for zeros."""
    symbols = [_half(half) for half in halves[: 2 if op == "LSTM" else 1]]
    if all(symbol is None for symbol in symbols):
        return None
    if None in symbols:
        raise ValueError("initial_h and initial_c must both be given or both be zeros")
    return tuple(symbols) if op == "LSTM" else symbols[0]


def _half(half: Anything) -> Any:
    if isinstance(half, Value):
        return half.symbol
    if half is None or isinstance(half, Zero) or (isinstance(half, np.ndarray) and not half.any()):
        return None
    raise ValueError("an initial state must be an input or zeros")
