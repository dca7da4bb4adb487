"""Recurrent layers on top of each other, forward or both ways: the runs of the kernels and what flows between them.

Everything here is time-major, batched and checked. ``L`` layers, ``D`` directions, ``Y`` the output size of one
direction; states are ``[L*D, B, ...]``, layer by layer, forward before reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..backends.protocol import Forward
from .around import NOTHING, Around, merged
from .base import Layer
from .direction import Direction, DirectionTape, backward_both, forward_both, prepared_alike
from .dropout import Backward, dropout_forward

Array = NDArray[Any]
Rows = list[list[Direction]]  # one list of D directions for each layer


class RowTape(NamedTuple):
    """What a training pass leaves of one layer: its tapes by direction, and the backwards of what was before and after."""

    tapes: list[DirectionTape]
    before: Sequence[Backward]
    after: Sequence[Backward]


StackTape = list[RowTape]


def stack_forward(
    owner: Layer,
    rows: Rows,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    lengths: Array | None,
    training: bool,
    cell_states: bool,
    around: Around | None = None,
) -> tuple[Forward, StackTape]:
    """Run every layer over ``x [T,B,I]`` or ids ``[T,B]``, with what ``around`` says before and after each (None: nothing).

    Gives ``y [T,B,D*Y]`` (``[T,B,Y]`` merged), ``h_n [L*D,B,Y]``; of an LSTM ``c_n [L*D,B,H]`` and, if wanted, the top's ``c
    [T,B,D*H]``.
    """
    if around is None:
        if len(rows) == 1:  # as quick as can be: one small cell's step takes a microsecond
            out, tapes = _row_forward(owner, rows[0], x, h0, c0, lengths, training, cell_states)
            return out, [RowTape(tapes, (), ())] if training else []
        if not (training or cell_states or len(rows[0]) == 2):
            at_once = prepared_stack(owner, rows)
            if at_once is not None:
                backend, stack = at_once
                return backend.forward_stack(stack, x, h0, c0, lengths), []
        around = NOTHING
    h_n: list[Array] = []
    c_n: list[Array | None] = []
    tape: StackTape = []
    i = 0
    for directions in rows:
        last = directions is rows[-1]
        of_row = slice(i, i + len(directions))
        h, c = None if h0 is None else h0[of_row], None if c0 is None else c0[of_row]
        x, before = _dropout(owner, x, around.input_dropout, one_mask=True)
        out, tapes = _row_forward(owner, directions, x, h, c, lengths, training, cell_states and last)
        i = of_row.stop
        h_n.append(out.h_n)
        c_n.append(out.c_n)
        x, after = out.y, []
        if around.merge != "concat":
            x, unmerge = merged(x, around.merge)
            after.append(unmerge)
        x, undo = _dropout(owner, x, 0.0 if last else around.dropout)
        tape.append(RowTape(tapes, before, after + undo))
    return Forward(x, np.concatenate(h_n), _joined(c_n), out.c), tape


def _dropout(owner: Layer, x: Array, p: float, one_mask: bool = False) -> tuple[Array, list[Backward]]:
    if not p:
        return x, []
    assert owner.rng is not None
    x, undo = dropout_forward(x, p, owner.rng, one_mask=one_mask)
    return x, [undo]


def prepared_stack(owner: Layer, rows: Rows) -> tuple[Any, Any] | None:
    """The backend and its form of the layers as a whole, where it has one. The first direction keeps it."""
    ready = prepared_alike(owner, [row[0] for row in rows])
    backend: Any = ready[0].backend
    if not hasattr(backend, "prepare_stack"):
        return None
    contents, keeper = [r.content for r in ready], rows[0][0]
    kept = keeper.stack
    if kept is None or not all(map(is_, kept[0], contents)):
        keeper.stack = kept = contents, backend.prepare_stack(contents)
    return backend, kept[1]


def _row_forward(
    owner: Layer,
    directions: list[Direction],
    x: Array,
    h0: Array | None,
    c0: Array | None,
    lengths: Array | None,
    training: bool,
    cell_states: bool,
) -> tuple[Forward, list[DirectionTape]]:
    """One layer: states are ``[D, B, ...]``."""
    if len(directions) == 2:
        return forward_both(owner, directions, x, h0, c0, lengths, training, cell_states)
    h, c = None if h0 is None else h0[0], None if c0 is None else c0[0]
    out, tape = directions[0].forward(owner, x, h, c, lengths, training, cell_states)
    out.h_n = out.h_n[None]
    if out.c_n is not None:
        out.c_n = out.c_n[None]
    return out, [] if tape is None else [tape]


def stack_backward(
    owner: Layer,
    rows: Rows,
    tape: StackTape,
    dy: Array | None,
    dh_n: Array | None,
    dc_n: Array | None,
    dc: Array | None,
    need_dx: bool,
) -> tuple[Array | None, Array, Array | None]:
    """dx, dh0, dc0 from the gradients of what forward gave (None is zero); adds into the parameters' gradients.

    Raises RuntimeError, before anything is added, for a second backward or one after a parameter has changed.
    """
    for row in tape:
        for direction_tape in row.tapes:
            direction_tape.require_good()
    dh0s: list[Array | None] = []
    dc0s: list[Array | None] = []
    i = sum(map(len, rows))
    for directions, (tapes, before, after) in zip(reversed(rows), reversed(tape), strict=True):
        if after:
            dy = _undone(after, dy)
        of_row = slice(i - len(directions), i)
        i = of_row.start
        dh, d = None if dh_n is None else dh_n[of_row], None if dc_n is None else dc_n[of_row]
        wanted = need_dx or directions is not rows[0]
        dy, dh0, dc0 = _row_backward(owner, directions, tapes, dy, dh, d, dc, wanted)
        if before:
            dy = _undone(before, dy)
        dc = None
        dh0s.insert(0, dh0)
        dc0s.insert(0, dc0)
    dh0_all = _joined(dh0s)
    assert dh0_all is not None
    return dy, dh0_all, _joined(dc0s)


def _undone(backwards: Sequence[Backward], gradient: Array | None) -> Array | None:
    for backward in reversed(backwards):
        gradient = None if gradient is None else backward(gradient)
    return gradient


def _row_backward(
    owner: Layer,
    directions: list[Direction],
    tapes: list[DirectionTape],
    dy: Array | None,
    dh_n: Array | None,
    dc_n: Array | None,
    dc: Array | None,
    need_dx: bool,
) -> tuple[Array | None, Array, Array | None]:
    """One layer: states are ``[D, B, ...]``."""
    if len(directions) == 2:
        return backward_both(owner, directions, tapes, dy, dh_n, dc_n, dc, need_dx)
    of_states = None if dh_n is None else dh_n[0], None if dc_n is None else dc_n[0]
    dx, dh0, dc0 = directions[0].backward(owner, tapes[0], dy, *of_states, dc, need_dx)
    return dx, dh0[None], None if dc0 is None else dc0[None]


def _joined(states: list[Array | None]) -> Array | None:
    """States ``[D, B, ...]`` of each layer as one array, or None where the cell has no such state."""
    parts = [state for state in states if state is not None]
    return np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else None
