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

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from . import backends
from ._core import checks
from ._core.arrays import Array
from ._stack_validation import (
    check_array,
    check_batch_sizes,
    check_input,
    check_lengths,
    check_matrix,
    check_stack,
    check_weights,
)
from .backends.base import Backend
from .backends.structs import (
    BATCH_MAJOR,
    PACKED,
    TIME_MAJOR,
    CellSpec,
    Gradients,
    Inputs,
    OutputGradients,
    Outputs,
    StackSpec,
    Weights,
)

USED_TAPE = "tape has been used: backward runs in its memory, so run forward again for another backward"


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


@dataclass(slots=True)
class Tape:
    """Data of one forward pass for one call of its backward.

    ``rows`` holds the axes of y without its features: ``(T, B)``, ``(B, T)`` or ``(N,)``.

    The tape refers to the weights and to an ``x`` of floats without copying them, so leave them unchanged until backward has
    run.
    """

    backend: Backend
    stack: StackSpec
    weights: Sequence[Weights]
    rows: tuple[int, ...]
    B: int
    content: Any
    used: bool = False


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


class StackOutput(NamedTuple):
    """Output of a stack: ``y [T,B,D*Y]``, ``h_n [L*D,B,Y]``, ``c_n [L*D,B,H]`` or None, the tape or None, and c.

    ``c [T,B,D*H]`` holds all cell states of the last layer; None without ``cell_states``.
    """

    y: Array
    h_n: Array
    c_n: Array | None
    tape: Tape | None
    c: Array | None


class StackGrads(NamedTuple):
    """Gradients of the loss with respect to the arguments of a stack; ``weights`` has one item for each part."""

    dx: Array | None
    dh0: Array
    dc0: Array | None
    weights: tuple[Weights, ...]


def stack_forward(
    stack: StackSpec,
    weights: Sequence[Weights],
    x: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    *,
    lengths: Any = None,
    batch_first: bool = False,
    batch_sizes: Any = None,
    keep_tape: bool = True,
    cell_states: bool = False,
    backend: str | None = None,
) -> StackOutput:
    """Run stacked layers, each in one or two directions, as torch.nn's RNN, GRU and LSTM do.

    Parameters
    ----------
    stack
        the cell, with the first layer's input size, and the numbers of layers L and directions D.
    weights
        one for each of the ``L*D`` parts: layer by layer, forward before reverse. Layers above the first have I = D*Y.
    x, lengths, keep_tape, backend
        see the module's docstring.
    h0, c0
        initial states ``[L*D, B, Y]`` and ``[L*D, B, H]`` (LSTM only); None is zeros.
    batch_first
        the sequences x, y, c and their gradients are ``[B, T, ...]``.
    batch_sizes
        integers ``[T]``: the sequences x, y, c and their gradients are packed, ``[N, ...]``, as in torch's PackedSequence.
        Step after step, they hold a row for each sequence that has the step; ``batch_sizes`` counts these sequences,
        which are sorted by length, the longest first. No ``lengths`` are given then.
    cell_states
        also return all cell states ``c_t`` of the last layer, as ``c [T, B, D*H]``.

    Returns
    -------
    StackOutput

    Raises
    ------
    TypeError
        for a wrong type or dtype
    ValueError
        for a wrong shape or value
    """
    engine = backends.current(backend)
    stack = check_stack(stack)
    if not isinstance(weights, (list, tuple)) or not all(isinstance(own, Weights) for own in weights):
        raise TypeError(f"weights must be a list of Weights, got {checks.describe(weights)}")
    if c0 is not None and stack.cell.cell != "lstm":
        raise ValueError(f"c0 must be None for a stack of {stack.cell.cell}: only an LSTM has it")
    if cell_states is True and stack.cell.cell != "lstm":
        raise ValueError(f"cell_states must be False for a stack of {stack.cell.cell}: only an LSTM has c")
    if len(weights) != stack.parts:
        raise ValueError(f"weights must hold one Weights for each of L*D = {stack.parts} parts, got {len(weights)}")
    for name, value in (("keep_tape", keep_tape), ("cell_states", cell_states)):
        checks.flag(name, value)
    layers = [stack.layer(part // stack.directions) for part in range(stack.parts)]
    checked = [check_weights(spec, own) for spec, own in zip(layers, weights, strict=True)]
    cell, rows = stack.cell, _rows(batch_first, batch_sizes, lengths)
    x = check_input(cell, x, rows)
    if rows == PACKED:
        lengths = check_batch_sizes(batch_sizes, len(x))
        B = len(lengths)
    else:
        B, T = x.shape[:2] if rows == BATCH_MAJOR else x.shape[1::-1]
        lengths = check_lengths(lengths, T, B)
    h = None if h0 is None else check_array("h0", h0, (stack.parts, B, cell.output_size), cell, "[L*D, B, Y]")
    c = None if c0 is None else check_array("c0", c0, (stack.parts, B, cell.hidden_size), cell, "[L*D, B, H]")
    inputs = Inputs(x, h, c, lengths, rows)
    out, tape = _run_forward(engine, stack, checked, inputs, keep_tape, cell_states)
    return StackOutput(out.y, out.h_n, out.c_n, tape, out.c)


def _rows(batch_first: object, batch_sizes: object, lengths: object) -> str:
    """Return the order of the rows. Raises TypeError or ValueError for arguments that contradict each other."""
    batch_first = checks.flag("batch_first", batch_first)
    if batch_sizes is None:
        return BATCH_MAJOR if batch_first else TIME_MAJOR
    if batch_first or lengths is not None:
        other = "batch_first" if batch_first else "lengths"
        raise ValueError(f"{other} must be left out with batch_sizes, which say how the rows of x are packed")
    return PACKED


def stack_backward(
    tape: Tape,
    dy: Array | None = None,
    dh_n: Array | None = None,
    dc_n: Array | None = None,
    dc: Array | None = None,
    *,
    need_dx: bool = True,
) -> StackGrads:
    """Compute the gradients of :func:`stack_forward` from those of its outputs, in the same shapes; None is zero.

    Raises TypeError or ValueError for a wrong argument, RuntimeError for a tape that has been used.
    """
    gradients = [weights.zeros_like() for weights in _unused(tape).weights]
    found = _run_backward(tape, dy, dh_n, dc_n, dc, gradients, need_dx)
    return StackGrads(*found, tuple(gradients))


def _unused(tape: Tape) -> Tape:
    """Return the tape. Raises TypeError if it is not a Tape, RuntimeError if it has been used."""
    if not isinstance(tape, Tape):
        raise TypeError(f"tape must come from a forward with keep_tape=True, got {checks.describe(tape)}")
    if tape.used:
        raise RuntimeError(USED_TAPE)
    return tape


def _run_forward(
    engine: Backend, stack: StackSpec, weights: Sequence[Weights], inputs: Inputs, training: bool, cell_states: bool
) -> tuple[Outputs, Tape | None]:
    """Run forward on validated arguments; the tape is None unless ``training``."""
    out = engine.forward(engine.prepare(stack, weights), inputs, training=training, cell_states=cell_states)
    return out, Tape(engine, stack, weights, out.y.shape[:-1], out.h_n.shape[1], out.tape) if training else None


def _run_backward(
    tape: Tape, dy: object, dh_n: object, dc_n: object, dc: object, gradients: Sequence[Weights], need_dx: bool
) -> Gradients:
    """Validate the gradients of a stack's outputs, then run backward, which adds into ``gradients``."""
    stack, cell, rows, B = tape.stack, tape.stack.cell, tape.rows, tape.B
    for name, value in (("dc_n", dc_n), ("dc", dc)):
        if value is not None and cell.cell != "lstm":
            raise ValueError(f"{name} must be None for a stack of {cell.cell}: only an LSTM has c")
    D, parts, Y, H = stack.directions, stack.parts, cell.output_size, cell.hidden_size
    axes = "T, B" if len(rows) > 1 else "N"

    def checked(name: str, value: object, shape: tuple[int, ...], letters: str) -> Array | None:
        return None if value is None else check_array(name, value, shape, cell, letters)

    dout = OutputGradients(
        checked("dy", dy, (*rows, D * Y), f"[{axes}, D*Y]" if D > 1 else f"[{axes}, Y]"),
        checked("dh_n", dh_n, (parts, B, Y), "[L*D, B, Y]"),
        checked("dc_n", dc_n, (parts, B, H), "[L*D, B, H]"),
        checked("dc", dc, (*rows, D * H), f"[{axes}, D*H]" if D > 1 else f"[{axes}, H]"),
    )
    tape.used = True
    content, tape.content = tape.content, None  # its memory is free as soon as backward is done
    return tape.backend.backward(content, dout, gradients, need_dx=need_dx)


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
    out, tape = _run_forward(engine, stack, checked, inputs, options["keep_tape"], options.get("cell_states", False))
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
    spec, B = _unused(tape).stack.cell, tape.B
    dh = None if dh_n is None else check_array("dh_n", dh_n, (B, spec.output_size), spec, "[B, Y]")[None]
    dcn = None if dc_n is None else check_array("dc_n", dc_n, (B, spec.hidden_size), spec, "[B, H]")[None]
    grads = tape.weights[0].zeros_like()
    dx, dh0, dc0 = _run_backward(tape, dy, dh, dcn, dc, [grads], need_dx)
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
