"""The semantics of ONNX's RNN, GRU and LSTM in NumPy, with every attribute, written by the equations and not for speed.

All arrays have one float dtype, in which this module computes. ``clip`` bounds the arguments of the activations f and g. As
in ONNX Runtime, it does not bound the argument of LSTM's h. Gates are in ONNX's order: z r h (GRU), i o f c (LSTM). ``p = x
W^T + Wb`` and ``q = h R^T + Rb``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..._core.arrays import Array
from .activations import Function
from .spec import NodeInputs, NodeOutputs, NodeSpec

Step = Callable[[Array, Array, Array], tuple[Array, Array]]  # (p, h, c) -> h, c


def run(spec: NodeSpec, inputs: NodeInputs) -> NodeOutputs:
    """Compute the node's outputs from inputs that :func:`fastrnn.onnx._cells.spec.check_inputs` accepts."""
    X = inputs.X.swapaxes(0, 1) if spec.layout else inputs.X
    T, B, _ = X.shape
    D, H = spec.directions, spec.hidden_size
    Y = np.zeros((T, D, B, H), X.dtype)
    h, c = (_state(spec, state, (D, B, H), X.dtype) for state in (inputs.initial_h, inputs.initial_c))
    lengths = np.full(B, T) if inputs.sequence_lens is None else inputs.sequence_lens
    for d in range(D):
        step, p = _direction(spec, inputs, d, X)
        backwards = spec.direction == "reverse" or d == 1
        for t in reversed(range(T)) if backwards else range(T):
            on = t < lengths  # a sequence that has ended keeps its state, and one that has not begun its initial state
            Y[t, d, on], c[d, on] = step(p[t, on], h[d, on], c[d, on])
            h[d, on] = Y[t, d, on]
    if spec.layout:
        Y, h, c = Y.transpose(2, 0, 1, 3), h.swapaxes(0, 1), c.swapaxes(0, 1)
    return NodeOutputs(Y, h, c if spec.op == "LSTM" else None)


def _state(spec: NodeSpec, state: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
    if state is None:
        return np.zeros(shape, dtype)
    return np.array(state.swapaxes(0, 1) if spec.layout else state)


def _direction(spec: NodeSpec, inputs: NodeInputs, d: int, X: Array) -> tuple[Step, Array]:
    """Return the step function of one direction, and p for all steps."""
    R, rows = inputs.R[d], len(inputs.R[d])
    bias = np.zeros(2 * rows, X.dtype) if inputs.B is None else inputs.B[d]
    peephole = np.zeros(3 * spec.hidden_size, X.dtype) if inputs.P is None else inputs.P[d]
    f = [_clipped(function, spec.clip) for function in spec.activations[d][:2]] + list(spec.activations[d][2:])
    Rb = bias[rows:]
    steps: dict[str, Callable[[], Step]] = {
        "RNN": lambda: rnn_step(f, R, Rb),
        "GRU": lambda: gru_step(f, R, Rb, spec.linear_before_reset),
        "LSTM": lambda: lstm_step(f, R, Rb, peephole, spec.input_forget),
    }
    return steps[spec.op](), X @ inputs.W[d].T + bias[:rows]


def _clipped(function: Function, clip: float | None) -> Callable[[Array], Array]:
    return function if clip is None else lambda x: function(np.clip(x, -clip, clip))


def rnn_step(f: Sequence[Callable[[Array], Array]], R: Array, Rb: Array) -> Step:
    """Compute a step of an RNN: ``H = f(p + q)``."""
    return lambda p, h, c: (f[0](p + h @ R.T + Rb), c)


def gru_step(f: Sequence[Callable[[Array], Array]], R: Array, Rb: Array, linear_before_reset: bool) -> Step:
    """Compute a step of a GRU: z and r are ``f(p + q)``, and ``H = (1 - z) n + z h``.

    ``n = g(p_n + r q_n)`` with ``linear_before_reset``, else ``n = g(p_n + (r h) R_n^T + Rb_n)``.
    """
    Rz, Rr, Rn = np.split(R, 3)
    bz, br, bn = np.split(Rb, 3)

    def step(p: Array, h: Array, c: Array) -> tuple[Array, Array]:
        pz, pr, pn = np.split(p, 3, axis=-1)
        z, r = f[0](pz + h @ Rz.T + bz), f[0](pr + h @ Rr.T + br)
        q = r * (h @ Rn.T + bn) if linear_before_reset else (r * h) @ Rn.T + bn
        return (1 - z) * f[1](pn + q) + z * h, c

    return step


def lstm_step(f: Sequence[Callable[[Array], Array]], R: Array, Rb: Array, peephole: Array, input_forget: bool) -> Step:
    """Compute a step of an LSTM: ``C = F c + I g(p_c + q_c)``, ``H = O h(C)``; I and F also read ``P c``, O reads ``P C``.

    With ``input_forget``, F = 1 - I.
    """
    Pi, Po, Pf = np.split(peephole, 3)

    def step(p: Array, h: Array, c: Array) -> tuple[Array, Array]:
        ai, ao, af, ac = np.split(p + h @ R.T + Rb, 4, axis=-1)
        i = f[0](ai + Pi * c)
        F = 1 - i if input_forget else f[0](af + Pf * c)
        C = F * c + i * f[1](ac)
        return f[0](ao + Po * C) * f[2](C), C

    return step
