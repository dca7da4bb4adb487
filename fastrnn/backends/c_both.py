"""Both directions of a layer in one call of the C library, which makes them side by side where that is faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .c_calls import Call, input_fields, params_fields
from .c_library import NULL, aligned, from_buffer, lib, pointer, take_workspace
from .protocol import Forward, Params

if TYPE_CHECKING:
    from .c import Prepared, Tape

Array = NDArray[Any]

DIRECTIONS = (0, 1)
CACHE_LINE = 64


def forward_both(
    prepared: Sequence[Prepared],
    x: Array,
    h0: Array | None,
    c0: Array | None,
    lengths: Array | None,
    keep_tape: bool,
    cell_states: bool,
) -> tuple[Forward, list[tuple[Call, Any, Array]]]:
    """What comes out, and for the tape of each direction its call, packed weights and memory."""
    kernel = prepared[0].kernel
    spec, dtype = kernel.spec, kernel.dtype
    calls = [kernel.call(x, lengths, bool(k), keep_tape, 2) for k in DIRECTIONS]
    call = calls[0]
    empty = call.empty
    y, h_n = empty(call.y, dtype), empty((2, *call.h), dtype)
    c_n = empty((2, *call.c), dtype) if call.c else None
    c = empty(call.cells, dtype) if cell_states and call.c else None
    packed = [layer.packed(keep_tape) for layer in prepared]
    tapes = [aligned(own.tape) if keep_tape else None for own in calls]  # reverse needs more: x in its order
    ys, cs = _columns(y, spec.output_size), _columns(c, spec.hidden_size)
    h0s, c0s, h_ns, c_ns = _each(h0), _each(c0), _each(h_n), _each(c_n)
    workspaces = _workspaces(max(own.workspace for own in calls))
    jobs = [
        (
            packed[k],
            calls[k].batch,
            input_fields(x, h0s[k], c0s[k]),
            (ys[k], h_ns[k], c_ns[k], cs[k]),
            pointer(tapes[k]),
            workspaces[k],
        )
        for k in DIRECTIONS
    ]
    lib.fastrnn_forward_both(kernel.layer, jobs)
    kept = [(calls[k], packed[k], memory) for k, memory in enumerate(tapes) if memory is not None]
    return Forward(y, h_n, c_n, c), kept


def backward_both(
    tapes: Sequence[Tape],
    dy: Array | None,
    dh_n: Array | None,
    dc_n: Array | None,
    dc: Array | None,
    grads: Sequence[Params],
    need_dx: bool,
) -> tuple[Array | None, Array, Array | None]:
    """The sum of the directions' dx, and dh0 and dc0 of both."""
    kernel, call = tapes[0].kernel, tapes[0].call
    spec, dtype, empty = kernel.spec, kernel.dtype, call.empty
    dxs = [empty(call.dx, dtype) if need_dx and not call.ids else None for _ in DIRECTIONS]
    dh0 = empty((2, *call.h), dtype)
    dc0 = empty((2, *call.c), dtype) if call.c else None
    dys, dcs = _columns(dy, spec.output_size), _columns(dc, spec.hidden_size)
    dh_ns, dc_ns, dh0s, dc0s = _each(dh_n), _each(dc_n), _each(dh0), _each(dc0)
    workspaces = _workspaces(lib.fastrnn_backward_workspace_size(kernel.layer, call.batch, call.ids))
    jobs = [
        (
            tapes[k].packed,
            tapes[k].call.batch,
            input_fields(tapes[k].x),
            (dys[k], dh_ns[k], dc_ns[k], dcs[k]),
            (pointer(dxs[k]), dh0s[k], dc0s[k]),
            params_fields(g),
            from_buffer(tapes[k].memory),
            workspaces[k],
        )
        for k, g in enumerate(grads)
    ]
    lib.fastrnn_backward_both(kernel.layer, jobs)
    dx, other = dxs
    if dx is not None:
        dx += other
    return dx, dh0, dc0


def _each(state: Array | None) -> tuple[Any, Any]:
    """Pointers to the halves ``[B, ...]`` of a state ``[2, B, ...]``. The array has to outlive them."""
    if state is None:
        return NULL, NULL
    first = from_buffer(state)
    return first, first + state.nbytes // 2


def _columns(rows: Array | None, size: int) -> tuple[Any, Any]:
    """Pointers to the first column of either direction in rows of twice the size. The array has to outlive them."""
    if rows is None:
        return NULL, NULL
    first = from_buffer(rows)
    return first, first + size * rows.itemsize


def _workspaces(size: int) -> tuple[Any, Any]:
    """This thread's workspace, for two."""
    size = -(-size // CACHE_LINE) * CACHE_LINE
    first = take_workspace(2 * size)
    return first, first + size
