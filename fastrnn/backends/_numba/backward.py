"""The backward pass over time, for all cells, and the matrix products that give the parameters' gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from .cells import Step, cell_backward, gru_reset_backward
from .denormals import flush_denormals, restore_denormals
from .jit import VECTOR_BYTES, jit, jit_entry
from .layout import GRU_BEFORE, LSTM, Layer, Scratch, Tape, scratch_of, tape_of, unpack
from .product import Panels, add_product, add_transposed_product, as_panels, below
from .rows import Rows, add_row, add_rows, chunk_begin, clear_rows, copy_rows, gather, scatter, sorted_rows
from .simd import Matrix, address_of, clear_bytes, load_element, matrix, store_element
from .weights import Weights, weights_of


class Outer(NamedTuple):
    """The caller's arrays, row for row; an absent array has address 0."""

    ids: Any  # [T*B]
    x: Matrix  # [T*B, I]
    dy: Matrix  # [T*B, Y]
    dc: Matrix  # [T*B, H]
    dx: Matrix  # [T*B, I]


class Sums(NamedTuple):
    """Memory where the matrices' gradients are summed: in place if their rows are whole vectors, else in scratch."""

    W: Matrix  # [G*H, I]; for token ids [distinct ids, blocks]
    R: Matrix  # [G*H, Y]
    projection: Matrix  # [P, H]


@jit_entry
def backward(
    fields: Any, T: int, B: int, x: Any, ids: Any, lengths: Any, reverse: bool, rows_block: Any, tape_block: Any,
    W: Any, R: Any, projection: Any, bias: Any, peephole: Any, scratch_block: Any, slots: Any,
    dy: Any, dh_n: Any, dc_n: Any, dc: Any,
    dx: Any, dh0: Any, dc0: Any, dW: Any, dR: Any, db_ih: Any, db_hh: Any, dpeephole: Any, dprojection: Any,
) -> None:  # fmt: skip
    """Write dh0, dc0 and dx, except dx past the lengths; add to the other gradients.

    Arrays are C-contiguous. An absent array is empty: x or ids; lengths if all are T; upstream gradients that are zero; dx
    if it is not needed.
    """
    mode = flush_denormals()
    layer, zero = unpack(fields), dh0.dtype.type(0)
    w = weights_of(layer, W, R, projection, bias, peephole)
    rows = sorted_rows(T, B, lengths, reverse, rows_block)
    tape = tape_of(layer, B, rows.source.size, address_of(tape_block), zero)
    own = scratch_of(layer, B, rows.source.size, ids.size > 0, address_of(scratch_block), zero)
    I_row, Y_row, H_row = layer.inputs * layer.item, layer.outputs * layer.item, layer.hidden * layer.item
    outer = Outer(ids, matrix(x, I_row, zero), matrix(dy, Y_row, zero), matrix(dc, H_row, zero), matrix(dx, I_row, zero))
    grads = Sums(matrix(dW, I_row, zero), matrix(dR, Y_row, zero), matrix(dprojection, H_row, zero))
    sums = _begin_sums(layer, grads, own, ids.size > 0)
    tokens = _number_tokens(ids, rows.source, layer.inputs, slots, own.W)
    # dh and dc hold dh_n and dc_n of a sequence until the loop reaches its last step.
    start, end = rows.offset[0], rows.steps
    _gather_or_clear(own.dh, matrix(dh_n, Y_row, zero), rows.order, start, B)
    if layer.kind == LSTM:
        _gather_or_clear(own.dc, matrix(dc_n, H_row, zero), rows.order, start, B)
    while end > 0:
        first = chunk_begin(rows, end)
        _chunk(layer, w, tape, own, outer, sums, slots, rows, first, end)
        end = first
    scatter(matrix(dh0, Y_row, zero), own.dh, rows.order, start, B)
    if layer.kind == LSTM:
        scatter(matrix(dc0, H_row, zero), own.dc, rows.order, start, B)
    _add_vectors(layer, own.sums, db_ih, db_hh, dpeephole)
    _add_sums(layer, grads, sums, slots, tokens)
    restore_denormals(mode)


@jit
def _begin_sums(layer: Layer, grads: Sums, own: Scratch, ids: bool) -> Sums:
    """Choose the memory to sum in, and clear it if it is in scratch, except the rows of tokens."""
    GH, sums = layer.gates * layer.hidden, grads
    if ids:
        sums = Sums(own.W, sums.R, sums.projection)
    elif grads.W.row != layer.input_row:
        sums = Sums(own.W, sums.R, sums.projection)
        clear_rows(own.W, GH)
    if grads.R.row != layer.output_row:
        sums = Sums(sums.W, own.R, sums.projection)
        clear_rows(own.R, GH)
    if layer.projected and grads.projection.row != layer.block:
        sums = Sums(sums.W, sums.R, own.projection)
        clear_rows(own.projection, layer.outputs)
    clear_bytes(own.sums.address, 4 * own.sums.row)
    return sums


@jit
def _add_sums(layer: Layer, grads: Sums, sums: Sums, slots: Any, tokens: int) -> None:
    """Add the sums in scratch to the gradients."""
    GH = layer.gates * layer.hidden
    if slots.size:
        _add_tokens(layer, grads.W, slots, tokens, sums.W)
    elif sums.W.address != grads.W.address:
        add_rows(grads.W, sums.W, GH)
    if sums.R.address != grads.R.address:
        add_rows(grads.R, sums.R, GH)
    if sums.projection.address != grads.projection.address:
        add_rows(grads.projection, sums.projection, layer.outputs)


@jit
def _gather_or_clear(target: Matrix, given: Matrix, source: Any, first: int, count: int) -> None:
    if given.address:
        gather(target, given, source, first, count)
    else:
        clear_rows(target, count)


@jit
def _chunk(
    layer: Layer, w: Weights, tape: Tape, own: Scratch, outer: Outer, sums: Sums, slots: Any, rows: Rows, first: int,
    end: int,
) -> None:  # fmt: skip
    """Run steps ``end - 1`` down to ``first``, then the matrix products over all their rows."""
    begin, n = rows.offset[first], rows.offset[end] - rows.offset[first]
    _gather_or_clear(own.dy, outer.dy, rows.source, begin, n)
    if layer.kind == LSTM:
        _gather_or_clear(own.dcs, outer.dc, rows.source, begin, n)
    _run_steps(layer, w, tape, own, rows, first, end)
    for row in range(n):
        add_row(own.sums, 0, own.dgates, row, layer.gates_row)
    before = _states_before(tape, own, rows, first, end)
    _add_to_R(layer, sums.R, own.dgates, before, below(tape.extra, begin, 0), n)
    if layer.projected:
        m = as_panels(below(tape.m, begin, 0))
        add_transposed_product(sums.projection, own.dy, m, layer.outputs, n, layer.block // VECTOR_BYTES)
    if slots.size:
        _add_to_tokens(outer.ids, rows.source, begin, n, slots, sums.W, own.dgates)
    else:
        gather(own.x, outer.x, rows.source, begin, n)
        _add_to_W(layer, sums.W, own.dgates, own.x, n)
    if outer.dx.address:
        clear_rows(own.dx, n)
        _add_gates_product(layer, own.dx, own.dgates, w.W, layer.gates, n, layer.input_row)
        scatter(outer.dx, own.dx, rows.source, begin, n)


@jit
def _run_steps(layer: Layer, w: Weights, tape: Tape, own: Scratch, rows: Rows, first: int, end: int) -> None:
    """Fill the rows of ``own.dgates`` step by step; with a projection ``own.dy`` becomes the states' whole gradient."""
    B = rows.order.size
    for s in range(end - 1, first - 1, -1):
        at, n = rows.offset[s], rows.count[s]
        before = 0 if s == 0 else B + rows.offset[s - 1]
        step = Step(n, at, before, B + at, at - rows.offset[first])
        add_rows(own.dh, below(own.dy, step.dgates, 0), n)
        if layer.kind == LSTM:
            add_rows(own.dc, below(own.dcs, step.dgates, 0), n)
        _step(layer, w, tape, own, step)


@jit
def _step(layer: Layer, w: Weights, tape: Tape, own: Scratch, step: Step) -> None:
    """Run one step of all running sequences: turn the gradients of the states after it into those before it."""
    n, dgates = step.rows, below(own.dgates, step.dgates, 0)
    if layer.projected:
        copy_rows(below(own.dy, step.dgates, 0), own.dh, n)
        clear_rows(own.dm, n)
        add_product(own.dm, own.dh, w.projection, n, layer.outputs, layer.block // VECTOR_BYTES)
    cell_backward(layer, tape, own, step, w.peephole)
    if layer.kind == LSTM:
        clear_rows(own.dh, n)
    if layer.kind == GRU_BEFORE:
        dn = below(dgates, 0, layer.n_block * layer.block)
        R_n = _from_gate(layer, w.R, layer.n_block)
        clear_rows(own.dm, n)
        _add_gates_product(layer, own.dm, dn, R_n, layer.gates - layer.recurrent_blocks, n, layer.block)
        gru_reset_backward(layer, tape, own, step)
    dq = below(dgates, 0, layer.recurrent_block * layer.block)
    _add_gates_product(layer, own.dh, dq, w.R, layer.recurrent_blocks, n, layer.output_row)


@jit
def _from_gate(layer: Layer, w: Panels, gate: int) -> Panels:
    """Return the packed weights from a gate on."""
    return Panels(w.address + gate * layer.block // layer.item * w.row, w.panel, w.row)


@jit
def _add_gates_product(layer: Layer, c: Matrix, dgates: Matrix, w: Panels, gates: int, rows: int, size: int) -> None:
    """Add ``dgates w`` to ``size`` bytes of each row of c, summed over the units of some gates without the padding."""
    H, Hp = layer.hidden, layer.block // layer.item
    depth = H
    if Hp == H:
        depth, gates = gates * H, 1
    for k in range(gates):
        a, b = below(dgates, 0, k * layer.block), _from_gate(layer, w, k)
        add_product(c, a, b, rows, depth, size // VECTOR_BYTES)


@jit
def _states_before(tape: Tape, own: Scratch, rows: Rows, first: int, end: int) -> Matrix:
    """Return the states before each step, in the rows of dgates."""
    begin = rows.offset[first]
    if rows.full:
        return Matrix(tape.h.address + begin * tape.h.row, tape.h.row, tape.h.zero)
    for s in range(first, end):
        before = 0 if s == 0 else rows.order.size + rows.offset[s - 1]
        copy_rows(below(own.h, rows.offset[s] - begin, 0), below(tape.h, before, 0), rows.count[s])
    return own.h


@jit
def _add_to_R(layer: Layer, dR: Matrix, dgates: Matrix, h: Matrix, extra: Matrix, n: int) -> None:
    """Add ``dq^T h`` to dR; for the last gate of GRU_BEFORE the factor is r h instead of h."""
    for gate in range(layer.gates):
        dq = below(dgates, 0, (layer.recurrent_block + gate) * layer.block)
        factor = extra if layer.kind == GRU_BEFORE and gate == layer.n_block else h
        to, panels = below(dR, gate * layer.hidden, 0), layer.output_row // VECTOR_BYTES
        add_transposed_product(to, dq, as_panels(factor), layer.hidden, n, panels)


@jit
def _add_to_W(layer: Layer, dW: Matrix, dgates: Matrix, x: Matrix, n: int) -> None:
    """Add ``dp^T x`` to dW."""
    for k in range(layer.gates):
        dp, gate = below(dgates, 0, k * layer.block), (k + layer.rotation) % layer.gates
        to, panels = below(dW, gate * layer.hidden, 0), layer.input_row // VECTOR_BYTES
        add_transposed_product(to, dp, as_panels(x), layer.hidden, n, panels)


@jit
def _number_tokens(ids: Any, source: Any, inputs: int, slots: Any, sums: Matrix) -> int:
    """Assign each token that occurs a row of ``sums``, ``slots[token]``; ``slots[inputs + row]`` is its token."""
    if ids.size == 0:
        return 0
    for token in range(inputs):
        slots[token] = -1
    tokens = 0
    for row in range(source.size):
        token = ids[source[row]]
        if token >= 0 and slots[token] < 0:
            slots[token] = tokens
            slots[inputs + tokens] = token
            clear_bytes(sums.address + tokens * sums.row, sums.row)
            tokens += 1
    return tokens


@jit
def _add_to_tokens(ids: Any, source: Any, begin: int, n: int, slots: Any, sums: Matrix, dgates: Matrix) -> None:
    """Add each row of dgates to the row of sums that belongs to its token."""
    for row in range(n):
        token = ids[source[begin + row]]
        if token >= 0:
            add_row(sums, slots[token], dgates, row, dgates.row)


@jit
def _add_tokens(layer: Layer, dW: Matrix, slots: Any, tokens: int, sums: Matrix) -> None:
    """Add the rows of sums to the columns of dW that belong to their tokens."""
    for k in range(layer.gates):
        gate = (k + layer.rotation) % layer.gates
        for j in range(layer.hidden):
            row, at = gate * layer.hidden + j, k * layer.block + j * layer.item
            for slot in range(tokens):
                column = slots[layer.inputs + slot] * layer.item
                store_element(dW, row, column, load_element(dW, row, column) + load_element(sums, slot, at))


@jit
def _add_vectors(layer: Layer, sums: Matrix, db_ih: Any, db_hh: Any, dpeephole: Any) -> None:
    """Add the sums over rows to the gradients of the biases and the peephole."""
    H, item = layer.hidden, layer.item
    for j in range(H):
        if layer.biased:
            for k in range(layer.gates):
                gate, recurrent = (k + layer.rotation) % layer.gates, layer.recurrent_block + k
                db_ih[gate * H + j] += load_element(sums, 0, k * layer.block + j * item)
                db_hh[k * H + j] += load_element(sums, 0, recurrent * layer.block + j * item)
        if layer.peephole:
            for k in range(3):
                dpeephole[k * H + j] += load_element(sums, 1 + k, j * item)
