"""Calls of a whole stack on arrays, forward and backward, which :mod:`fastrnn.functional` makes public.

Its functions for one part call :func:`run_forward` and :func:`run_backward`, because one part is a stack of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import backends
from ._core import checks
from ._core.arrays import Array
from ._stack_validation import (
    check_array,
    check_batch_sizes,
    check_input,
    check_lengths,
    check_stack,
    check_weights,
)
from .backends.base import Backend
from .backends.structs import (
    BATCH_MAJOR,
    PACKED,
    TIME_MAJOR,
    Gradients,
    Inputs,
    OutputGradients,
    Outputs,
    StackSpec,
    Weights,
)

USED_TAPE = "tape has been used: backward runs in its memory, so run forward again for another backward"


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
        see :mod:`fastrnn.functional`.
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
    out, tape = run_forward(engine, stack, checked, inputs, keep_tape, cell_states)
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
    gradients = [weights.zeros_like() for weights in unused(tape).weights]
    found = run_backward(tape, dy, dh_n, dc_n, dc, gradients, need_dx)
    return StackGrads(*found, tuple(gradients))


def unused(tape: Tape) -> Tape:
    """Return the tape. Raises TypeError if it is not a Tape, RuntimeError if it has been used."""
    if not isinstance(tape, Tape):
        raise TypeError(f"tape must come from a forward with keep_tape=True, got {checks.describe(tape)}")
    if tape.used:
        raise RuntimeError(USED_TAPE)
    return tape


def run_forward(
    engine: Backend, stack: StackSpec, weights: Sequence[Weights], inputs: Inputs, training: bool, cell_states: bool
) -> tuple[Outputs, Tape | None]:
    """Run forward on validated arguments; the tape is None unless ``training``."""
    out = engine.forward(engine.prepare(stack, weights), inputs, training=training, cell_states=cell_states)
    return out, Tape(engine, stack, weights, out.y.shape[:-1], out.h_n.shape[1], out.tape) if training else None


def run_backward(
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
