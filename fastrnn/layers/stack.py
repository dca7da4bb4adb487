"""Recurrent layers on top of each other, forward or both ways: the runs of the kernels and what flows between them.

Everything here is time-major, batched and checked. ``L`` layers, ``D`` directions, ``Y`` the output size of one
direction; states are ``[L*D, B, ...]``, layer by layer, forward before reverse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import memory
from ..backends.protocol import Forward
from ..checks import plain
from .base import Layer
from .direction import Direction, DirectionTape
from .dropout import Backward as DropoutBackward
from .dropout import dropout_forward

Array = NDArray[Any]
Rows = list[list[Direction]]  # one list of D directions for each layer


# What a training pass leaves: each layer's tapes by direction, and the backward of the dropout above it.
StackTape = list[tuple[list[DirectionTape], DropoutBackward | None]]


def stack_forward(
    owner: Layer,
    rows: Rows,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    lengths: Array | None,
    training: bool,
    cell_states: bool,
    dropout: float = 0.0,
) -> tuple[Forward, StackTape]:
    """Run every layer over ``x [T,B,I]`` or ids ``[T,B]``; ``dropout`` acts between layers, in training only.

    Gives ``y [T,B,D*Y]``, ``h_n [L*D,B,Y]``; of an LSTM ``c_n [L*D,B,H]`` and, if wanted, the top's ``c [T,B,D*H]``.
    """
    if len(rows) == 1 == len(rows[0]):
        return _forward_alone(owner, rows[0][0], x, h0, c0, lengths, training, cell_states)
    h_n: list[Array] = []
    c_n: list[Array | None] = []
    tape: StackTape = []
    for directions in rows:
        last = directions is rows[-1]
        outs: list[Forward] = []
        tapes: list[DirectionTape] = []
        for i, direction in enumerate(directions, start=len(h_n)):
            h, c = None if h0 is None else h0[i], None if c0 is None else c0[i]
            out, direction_tape = direction.forward(owner, x, h, c, lengths, training, cell_states and last)
            outs.append(out)
            if direction_tape is not None:
                tapes.append(direction_tape)
        h_n += [out.h_n for out in outs]
        c_n += [out.c_n for out in outs]
        x = _join([out.y for out in outs])
        undo = None
        if training and dropout and not last:
            assert owner.rng is not None
            x, undo = dropout_forward(x, dropout, owner.rng)
        tape.append((tapes, undo))
    h, c = _stacked(h_n), [out.c for out in outs if out.c is not None]
    assert h is not None
    return Forward(x, h, _stacked(c_n), _join(c) if c else None), tape


def _forward_alone(
    owner: Layer,
    direction: Direction,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    lengths: Array | None,
    training: bool,
    cell_states: bool,
) -> tuple[Forward, StackTape]:
    """One layer in one direction: the loops of :func:`stack_forward` would take as long as a small cell's step."""
    h, c = None if h0 is None else h0[0], None if c0 is None else c0[0]
    out, tape = direction.forward(owner, x, h, c, lengths, training, cell_states)
    out.h_n = out.h_n[None]
    if out.c_n is not None:
        out.c_n = out.c_n[None]
    return out, [] if tape is None else [([tape], None)]


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
    for tapes, _ in tape:
        for direction_tape in tapes:
            direction_tape.require_good()
    dstates: list[tuple[Array, Array | None]] = []
    i = sum(map(len, rows))
    for directions, (tapes, undo) in zip(reversed(rows), reversed(tape), strict=True):
        if undo is not None and dy is not None:
            dy = undo(dy)
        i -= len(directions)
        dys, dcs = _split(dy, len(directions)), _split(dc, len(directions))
        dxs, row = [], []
        for k, direction in enumerate(directions):
            upstream = (dys[k], None if dh_n is None else dh_n[i + k], None if dc_n is None else dc_n[i + k], dcs[k])
            wanted = need_dx or directions is not rows[0]
            dx, dh0, dc0 = direction.backward(owner, tapes[k], *upstream, need_dx=wanted)
            dxs.append(dx)
            row.append((dh0, dc0))
        dstates = row + dstates
        dy, dc = _sum(dxs), None
    dh0_all, dc0_all = _stacked(d[0] for d in dstates), _stacked(d[1] for d in dstates)
    assert dh0_all is not None
    return dy, dh0_all, dc0_all


def _join(parts: list[Array]) -> Array:
    """The directions' outputs side by side."""
    if len(parts) == 1:
        return parts[0]
    shape = (*parts[0].shape[:-1], sum(part.shape[-1] for part in parts))
    return np.concatenate(parts, axis=-1, out=memory.empty(shape, parts[0].dtype))


def _split(joined: Array | None, n: int) -> list[Array | None]:
    """The inverse of :func:`_join` on gradients; None is zero and stays None."""
    if joined is None or n == 1:
        return [joined] * n
    size = joined.shape[-1] // n
    return [plain(joined[..., k * size : (k + 1) * size]) for k in range(n)]


def _sum(parts: list[Array | None]) -> Array | None:
    """The sum of the directions' dx, into the first, which is fresh; None when they are."""
    total = parts[0]
    for part in parts[1:]:
        if total is not None and part is not None:
            total += part
    return total


def _stacked(states: Iterable[Array | None]) -> Array | None:
    """States ``[B, ...]`` of each layer and direction as one array, or None where the cell has no such state."""
    parts = [state for state in states if state is not None]
    if len(parts) < 2:
        return parts[0][None] if parts else None
    return np.stack(parts)
