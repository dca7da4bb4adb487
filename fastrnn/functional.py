"""The kernels as pure functions on arrays, for one layer in one direction or for a whole stack.

This module validates the arguments (:mod:`fastrnn._stack_validation`); a backend (:mod:`fastrnn.backends`) computes.
Letters: ``T`` time steps, ``B`` batch, ``I`` input size, ``H`` hidden size, ``P`` projection size, ``Y`` output size (``P``
with a projection, else ``H``), ``G`` gates, ``L`` layers, ``D`` directions. Arrays are time-major. In one call they are all
float32 or all float64.

The three ``*_forward`` functions share these arguments:

``x``
    ``[T, B, I]``, or integers ``[T, B]``: token ids in -1..I-1, where id k stands for the one-hot vector e_k and -1 for the
    zero vector. A token selects a row of W's transpose; no one-hot array is built.
``h0``, ``c0``
    initial states ``[B, Y]`` and ``[B, H]``; None is zeros.
``W``, ``R``, ``b_ih``, ``b_hh``
    ``[G*H, I]``, ``[G*H, Y]``, ``[G*H]``, ``[G*H]`` (both biases or neither), gates in torch's order.
``lengths``
    integers ``[B]``, each 0..T, in any order; None is T for all. Past a sequence's length y and dx are zero and dy is
    ignored; h_n and c_n are the states after its last step. The final states of a sequence of length 0 are its initial
    states, and backward passes their gradients on to the initial states. T is at least 1; B may be 0.
``reverse``
    run each sequence from its own last step to its first. y stays in the order of x.
``keep_tape``
    False for inference: the returned tape is None and less memory is used.
``backend``
    ``"c"``, ``"numba"`` or ``"reference"``; None for the one in use (:func:`fastrnn.use_backend`).

These functions raise TypeError for a wrong type or dtype and ValueError for a wrong shape or value. The message names the
argument, what was expected and what was given.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from . import backends
from ._core import checks
from ._core.arrays import Array
from ._stack_calls import (
    USED_TAPE,
    StackGrads,
    StackOutput,
    Tape,
    run_backward,
    run_forward,
    stack_backward,
    stack_forward,
    unused,
)
from ._stack_validation import check_array, check_input, check_lengths, check_matrix, check_weights
from .backends.structs import CellSpec, Inputs, Outputs, StackSpec, Weights

__all__ = [
    "USED_TAPE",
    "Grads",
    "LSTMOutput",
    "LSTMOutputWithCells",
    "RNNOutput",
    "StackGrads",
    "StackOutput",
    "Tape",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
    "stack_backward",
    "stack_forward",
]


class Grads(NamedTuple):
    """Gradients of the loss with respect to the arguments of a forward pass; None for an argument that was None."""

    dx: Array | None
    dh0: Array
    dc0: Array | None
    dW: Array
    dR: Array
    db_ih: Array | None
    db_hh: Array | None
    dpeephole: Array | None
    dprojection: Array | None


class RNNOutput(NamedTuple):
    """Output of an RNN or GRU: ``y [T,B,H]``, ``h_n [B,H]`` and the tape."""

    y: Array
    h_n: Array
    tape: Tape | None


class LSTMOutput(NamedTuple):
    """Output of an LSTM: ``y [T,B,Y]``, ``h_n [B,Y]``, ``c_n [B,H]`` and the tape."""

    y: Array
    h_n: Array
    c_n: Array
    tape: Tape | None


class LSTMOutputWithCells(NamedTuple):
    """Output of an LSTM as in :class:`LSTMOutput`, then all cell states ``c [T,B,H]``."""

    y: Array
    h_n: Array
    c_n: Array
    tape: Tape | None
    c: Array


def _forward(
    spec: CellSpec, weights: Weights, x: object, h0: object, c0: object, backend: str | None, **options: Any
) -> tuple[Outputs, Tape | None]:
    """Run a stack of one part, whose states have no axis L*D here."""
    engine = backends.current(backend)
    for name, value in options.items():
        if name != "lengths":
            checks.flag(name, value)
    stack, checked = StackSpec(spec, reverse=options["reverse"]), [check_weights(spec, weights)]
    x = check_input(spec, x)
    T, B = x.shape[:2]
    h = None if h0 is None else check_array("h0", h0, (B, spec.output_size), spec, "[B, Y]")[None]
    c = None if c0 is None else check_array("c0", c0, (B, spec.hidden_size), spec, "[B, H]")[None]
    inputs = Inputs(x, h, c, check_lengths(options["lengths"], T, B))
    out, tape = run_forward(engine, stack, checked, inputs, options["keep_tape"], options.get("cell_states", False))
    out.h_n, out.c_n = out.h_n[0], None if out.c_n is None else out.c_n[0]
    return out, tape


def _spec(cell: str, W: object, R: object, **options: Any) -> CellSpec:
    """Derive the spec from the shapes of W and R; :func:`check_weights` finds shapes that do not fit it."""
    for name, array in (("W", W), ("R", R)):
        check_matrix(name, array)
    assert isinstance(W, np.ndarray)
    assert isinstance(R, np.ndarray)
    spec = CellSpec(cell, W.shape[1], 1, W.dtype.name, **options)
    if W.shape[0] % spec.gates:
        raise ValueError(f"W must have G*H rows with G = {spec.gates} gates, got {checks.describe(W)}")
    H = W.shape[0] // spec.gates
    return CellSpec(cell, W.shape[1], H, spec.dtype, **options)


def rnn_forward(
    x: Array,
    h0: Array | None,
    W: Array,
    R: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Any = None,
    reverse: bool = False,
    keep_tape: bool = True,
    backend: str | None = None,
) -> RNNOutput:
    """Run an Elman RNN (Elman 1990; torch.nn.RNN): ``h_t = f(W x_t + b_ih + R h_{t-1} + b_hh)`` with f tanh or relu.

    The module's docstring describes shapes, dtypes and errors. Returns ``y, h_n, tape``.
    """
    checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    spec = _spec("rnn", W, R, nonlinearity=nonlinearity)
    weights = Weights(W, R, b_ih, b_hh)
    out, tape = _forward(spec, weights, x, h0, None, backend, lengths=lengths, reverse=reverse, keep_tape=keep_tape)
    return RNNOutput(out.y, out.h_n, tape)


def gru_forward(
    x: Array,
    h0: Array | None,
    W: Array,
    R: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    reset_after: bool = True,
    reset_gate: bool = True,
    lengths: Any = None,
    reverse: bool = False,
    keep_tape: bool = True,
    backend: str | None = None,
) -> RNNOutput:
    """Run a gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) with gates r z n: ``h_t = (1-z) n + z h_{t-1}``.

    ``p_n`` is the input's part of n with its bias, ``W_n x_t + b_in``, and ``q_n = R_n h_{t-1}``. The module's docstring
    describes shapes, dtypes and errors.

    Parameters
    ----------
    x, h0, W, R, b_ih, b_hh, lengths, reverse, keep_tape, backend
        see the module's docstring.
    reset_after
        True: ``n = tanh(p_n + r (q_n + b_hn))``, as in torch, cuDNN and Keras. False: the paper's
        ``n = tanh(p_n + R_n (r h_{t-1}) + b_hn)``.
    reset_gate
        False leaves r out: the gates are z n, and ``n = tanh(p_n + q_n + b_hn)``.

    Returns
    -------
    RNNOutput
        ``y, h_n, tape``
    """
    flags = {"reset_after": checks.flag("reset_after", reset_after), "reset_gate": checks.flag("reset_gate", reset_gate)}
    spec = _spec("gru", W, R, **flags)
    weights = Weights(W, R, b_ih, b_hh)
    out, tape = _forward(spec, weights, x, h0, None, backend, lengths=lengths, reverse=reverse, keep_tape=keep_tape)
    return RNNOutput(out.y, out.h_n, tape)


def lstm_forward(
    x: Array,
    h0: Array | None,
    c0: Array | None,
    W: Array,
    R: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    peephole: Array | None = None,
    projection: Array | None = None,
    cell_states: bool = False,
    lengths: Any = None,
    reverse: bool = False,
    keep_tape: bool = True,
    backend: str | None = None,
) -> LSTMOutput | LSTMOutputWithCells:
    """Run a long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000) with gates i f g o, as in torch.

    The module's docstring describes shapes, dtypes and errors.

    Parameters
    ----------
    x, h0, c0, W, R, b_ih, b_hh, lengths, reverse, keep_tape, backend
        see the module's docstring.
    peephole
        ``[3*H]`` (i f o): i and f also read ``c_{t-1}``, and o reads ``c_t`` (Gers et al. 2002).
    projection
        ``[P, H]``: ``h_t = projection (o tanh(c_t))`` (Sak et al. 2014).
    cell_states
        also return all ``c_t``, as ``c [T, B, H]``, zero past a sequence's length.

    Returns
    -------
    LSTMOutput or LSTMOutputWithCells
        ``y, h_n, c_n, tape``, and ``c`` with ``cell_states``
    """
    if projection is not None:
        check_matrix("projection", projection)
    proj_size = 0 if projection is None else projection.shape[0]
    spec = _spec("lstm", W, R, peephole=peephole is not None, proj_size=proj_size)
    weights = Weights(W, R, b_ih, b_hh, peephole, projection)
    options = {"lengths": lengths, "reverse": reverse, "keep_tape": keep_tape, "cell_states": cell_states}
    out, tape = _forward(spec, weights, x, h0, c0, backend, **options)
    assert out.c_n is not None
    if out.c is not None:
        return LSTMOutputWithCells(out.y, out.h_n, out.c_n, tape, out.c)
    return LSTMOutput(out.y, out.h_n, out.c_n, tape)


def _backward(tape: Tape, cell: str, dy: object, dh_n: object, dc_n: object, dc: object, need_dx: bool) -> Grads:
    if not isinstance(tape, Tape) or tape.stack.cell.cell != cell or tape.stack.parts != 1:
        raise TypeError(f"tape must come from {cell}_forward with keep_tape=True, got {checks.describe(tape)}")
    spec, B = unused(tape).stack.cell, tape.B
    dh = None if dh_n is None else check_array("dh_n", dh_n, (B, spec.output_size), spec, "[B, Y]")[None]
    dcn = None if dc_n is None else check_array("dc_n", dc_n, (B, spec.hidden_size), spec, "[B, H]")[None]
    grads = tape.weights[0].zeros_like()
    dx, dh0, dc0 = run_backward(tape, dy, dh, dcn, dc, [grads], need_dx)
    states = dh0[0], None if dc0 is None else dc0[0]
    return Grads(dx, *states, *(getattr(grads, f.name) for f in fields(Weights)))


def rnn_backward(tape: Tape, dy: Array | None = None, dh_n: Array | None = None, *, need_dx: bool = True) -> Grads:
    """Compute the gradients of :func:`rnn_forward` from ``dy [T,B,H]`` and ``dh_n [B,H]``; None is zero.

    Raises TypeError or ValueError for a wrong argument, RuntimeError for a tape that has been used.
    """
    return _backward(tape, "rnn", dy, dh_n, None, None, need_dx)


def gru_backward(tape: Tape, dy: Array | None = None, dh_n: Array | None = None, *, need_dx: bool = True) -> Grads:
    """Compute the gradients of :func:`gru_forward` from ``dy [T,B,H]`` and ``dh_n [B,H]``; None is zero.

    Raises TypeError or ValueError for a wrong argument, RuntimeError for a tape that has been used.
    """
    return _backward(tape, "gru", dy, dh_n, None, None, need_dx)


def lstm_backward(
    tape: Tape,
    dy: Array | None = None,
    dh_n: Array | None = None,
    dc_n: Array | None = None,
    dc: Array | None = None,
    *,
    need_dx: bool = True,
) -> Grads:
    """Compute the gradients of :func:`lstm_forward` from those of its outputs; None is zero.

    They are ``dy [T,B,Y]``, ``dh_n [B,Y]``, ``dc_n [B,H]``, and ``dc [T,B,H]`` for the cell states of all steps.
    Raises TypeError or ValueError for a wrong argument, RuntimeError for a tape that has been used.
    """
    return _backward(tape, "lstm", dy, dh_n, dc_n, dc, need_dx)
