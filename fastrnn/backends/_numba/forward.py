"""The forward pass over time, for all cells."""

from __future__ import annotations

from typing import Any

from .cells import Step, cell_forward, gru_state
from .denormals import flush_denormals, restore_denormals
from .jit import VECTOR_BYTES, jit, jit_entry
from .layout import GRU_BEFORE, LSTM, Layer, Tape, tape_of, unpack
from .product import Panels, add_product, below
from .rows import Rows, chunk_end, clear_rows, copy_rows, gather, scatter, sort_rows
from .simd import Matrix, address_of, copy_bytes, load, matrix, store
from .weights import Weights, weights_of


@jit_entry
def forward(
    fields: Any, T: int, B: int, x: Any, ids: Any, h0: Any, c0: Any, lengths: Any, reverse: bool,
    W: Any, R: Any, projection: Any, bias: Any, peephole: Any,
    keep_tape: bool, tape_rows: int, rows_block: Any, tape_block: Any, x_block: Any, y: Any, h_n: Any, c_n: Any, c: Any,
) -> None:  # fmt: skip
    """Write ``y``, ``h_n``, ``c_n`` and ``c``, except past the lengths, and fill the memory blocks.

    One of ``x [T,B,I]`` and ``ids [T*B]`` is empty. ``lengths`` is empty if all are T, and ``c`` if it is not wanted. The
    tape's block has room for ``tape_rows`` rows: all rows with ``keep_tape``, else the rows of one chunk. The x block has
    room for one chunk.
    """
    mode = flush_denormals()
    layer, zero = unpack(fields), y.dtype.type(0)
    w = weights_of(layer, W, R, projection, bias, peephole)
    rows = sort_rows(T, B, lengths, reverse, rows_block)
    tape = tape_of(layer, B, tape_rows, address_of(tape_block), zero)
    I_row, Y_row, H_row = layer.inputs * layer.item, layer.outputs * layer.item, layer.hidden * layer.item
    xs, gathered = matrix(x, I_row, zero), matrix(x_block, I_row, zero)
    ys, cs = matrix(y, Y_row, zero), matrix(c, H_row, zero)
    last_h, last_c = matrix(h_n, Y_row, zero), matrix(c_n, H_row, zero)
    # Not the literal 0: Numba would compile each function that takes it a second time.
    first = rows.offset[0]
    gather(tape.h, matrix(h0, Y_row, zero), rows.order, first, B)
    if layer.kind == LSTM:
        gather(tape.c, matrix(c0, H_row, zero), rows.order, first, B)
    _finish_empty(layer, tape, rows, first, last_h, last_c)
    while first < rows.steps:
        end = chunk_end(rows, first)
        begin, count = rows.offset[first], rows.offset[end] - rows.offset[first]
        base = 0 if keep_tape else begin
        gates = below(tape.gates, begin - base, 0)
        _begin_gates(layer, w, gates, rows, begin, count, xs, ids, gathered)
        last = _run_steps(layer, w, tape, rows, first, end, base, last_h, last_c)
        scatter(ys, below(tape.h, B + begin - base, 0), rows.source, begin, count)
        if cs.address:
            scatter(cs, below(tape.c, B + begin - base, 0), rows.source, begin, count)
        if not keep_tape:
            _carry(layer, tape, last, rows.count[end])
        first = end
    restore_denormals(mode)


@jit
def _finish_empty(layer: Layer, tape: Tape, rows: Rows, first: int, h_n: Matrix, c_n: Matrix) -> None:
    """Write the final states of sequences of length 0, which are their initial states."""
    begin = rows.count[first]
    empty = rows.order.size - begin
    scatter(h_n, below(tape.h, begin, 0), rows.order, begin, empty)
    if layer.kind == LSTM:
        scatter(c_n, below(tape.c, begin, 0), rows.order, begin, empty)


@jit
def _begin_gates(
    layer: Layer, w: Weights, gates: Matrix, rows: Rows, begin: int, count: int, x: Matrix, ids: Any, gathered: Matrix
) -> None:
    """Compute ``gates = bias + x W^T`` for ``count`` rows from row ``begin`` on."""
    for row in range(count):
        copy_bytes(gates.address + row * gates.row, w.bias.address, gates.row)
    if ids.size:
        _add_tokens(layer, w.W, ids, rows.source, begin, count, gates)
        return
    ordered = below(x, begin, 0)
    if not rows.in_order:
        gather(gathered, x, rows.source, begin, count)
        ordered = gathered
    add_product(gates, ordered, w.W, count, layer.inputs, layer.gates * layer.block // VECTOR_BYTES)


@jit
def _add_tokens(layer: Layer, W: Panels, ids: Any, source: Any, begin: int, count: int, gates: Matrix) -> None:
    """Add row id of W^T to each row of the gates; id -1 adds nothing."""
    for row in range(count):
        token = ids[source[begin + row]]
        if token >= 0:
            column = Matrix(W.address + token * W.row, W.panel, gates.zero)
            for panel in range(layer.gates * layer.block // VECTOR_BYTES):
                at = panel * VECTOR_BYTES
                store(gates, row, at, load(gates, row, at) + load(column, panel, 0))


@jit
def _run_steps(
    layer: Layer, w: Weights, tape: Tape, rows: Rows, first: int, end: int, base: int, h_n: Matrix, c_n: Matrix
) -> int:
    """Run steps ``first`` to ``end - 1``; returns the first row of the states after the last of them.

    ``base`` is the number of the row that the tape's gate buffer begins with.
    """
    B = rows.order.size
    before = 0 if first == 0 or base > 0 else B + rows.offset[first - 1]
    for s in range(first, end):
        gates, running = rows.offset[s] - base, rows.count[s + 1]
        step = Step(rows.count[s], gates, before, B + gates, 0)
        _step(layer, w, tape, step)
        before = step.after
        if running < step.rows:
            ended = step.rows - running
            scatter(h_n, below(tape.h, before + running, 0), rows.order, running, ended)
            if layer.kind == LSTM:
                scatter(c_n, below(tape.c, before + running, 0), rows.order, running, ended)
    return before


@jit
def _step(layer: Layer, w: Weights, tape: Tape, step: Step) -> None:
    """Run one step of all unfinished sequences: ``gates += h R^T``, then the cell."""
    n, panels = step.rows, layer.recurrent_blocks * layer.block // VECTOR_BYTES
    to = below(tape.gates, step.gates, layer.recurrent_block * layer.block)
    add_product(to, below(tape.h, step.before, 0), w.R, n, layer.outputs, panels)
    cell_forward(layer, tape, step, w.peephole)
    if layer.kind == GRU_BEFORE:
        R_n = Panels(w.R.address + panels * w.R.panel, w.R.panel, w.R.row)
        to = below(tape.gates, step.gates, layer.n_block * layer.block)
        add_product(to, below(tape.extra, step.gates, 0), R_n, n, layer.hidden, layer.block // VECTOR_BYTES)
        gru_state(layer, tape, step)
    if layer.projected:
        m, h_new = below(tape.m, step.gates, 0), below(tape.h, step.after, 0)
        clear_rows(h_new, n)
        add_product(h_new, m, w.projection, n, layer.hidden, layer.output_row // VECTOR_BYTES)


@jit
def _carry(layer: Layer, tape: Tape, last: int, count: int) -> None:
    """Move the states after a chunk to the beginning of the buffer, where the next chunk starts."""
    copy_rows(tape.h, below(tape.h, last, 0), count)
    if layer.kind == LSTM:
        copy_rows(tape.c, below(tape.c, last, 0), count)
