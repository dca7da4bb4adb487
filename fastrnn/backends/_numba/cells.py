"""The pointwise part of each cell: the equations of one time step, forward and backward.

Each function computes all rows of a step; :class:`Step` says where they begin. The forward functions read the sums
``a = p + q`` from the blocks of ``tape.gates`` and overwrite them with the activated gates. The backward functions turn
``dh``, the gradient of the state after the step, into that of the state before it, without the share that comes through the
recurrent product, and write the gradients of the sums to ``dgates``. ``h`` and ``c`` are the states before the step,
``h_new`` and ``c_new`` those after it. The equations of a backward function have the numbers of the forward's, in reverse
order. ``H`` is the width of a block in bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .activations import sigmoid, tanh
from .jit import VECTOR_BYTES, jit
from .layout import GRU_AFTER, GRU_BEFORE, LSTM, RNN_RELU, RNN_TANH, Layer, Scratch, Tape
from .simd import Matrix, constant, load, maximum, store, where_positive

_zero = constant(0)
_one = constant(1)


class Step(NamedTuple):
    """Number of rows of a step, and the first row in each kind of array."""

    rows: int
    gates: int  # in tape.gates, tape.m, tape.extra
    before: int  # in tape.h and tape.c: the states before
    after: int  # the states after
    dgates: int  # in scratch.dgates


@jit
def cell_forward(layer: Layer, tape: Tape, step: Step, peephole: Matrix) -> None:
    """Compute the states after the step from the sums; for GRU_BEFORE only ``r h``, then :func:`gru_state` does the rest."""
    if layer.kind == LSTM:
        _lstm(layer, tape, step, peephole)
    elif layer.kind == RNN_TANH or layer.kind == RNN_RELU:
        _rnn(layer, tape, step)
    elif layer.kind == GRU_BEFORE:
        _gru_before(layer, tape, step)
    else:
        if layer.kind == GRU_AFTER:
            _gru_after(layer, tape, step)
        gru_state(layer, tape, step)


@jit
def cell_backward(layer: Layer, tape: Tape, scratch: Scratch, step: Step, peephole: Matrix) -> None:
    """Run the backward of :func:`cell_forward`; for a GRU the backward of :func:`gru_state` comes first."""
    if layer.kind == LSTM:
        _lstm_backward(layer, tape, scratch, step, peephole)
    elif layer.kind == RNN_TANH or layer.kind == RNN_RELU:
        _rnn_backward(layer, tape, scratch, step)
    else:
        _gru_state_backward(layer, tape, scratch, step)
        if layer.kind == GRU_AFTER:
            _gru_after_backward(layer, tape, scratch, step)


@jit
def _rnn(layer: Layer, tape: Tape, step: Step) -> None:
    """Compute h_new = f(a) with f tanh or relu."""
    for k in range(step.rows):
        for j in range(0, layer.block, VECTOR_BYTES):
            a = load(tape.gates, step.gates + k, j)
            h_new = maximum(_zero(a), a) if layer.kind == RNN_RELU else tanh(a)
            store(tape.h, step.after + k, j, h_new)


@jit
def _rnn_backward(layer: Layer, tape: Tape, scratch: Scratch, step: Step) -> None:
    for k in range(step.rows):
        for j in range(0, layer.block, VECTOR_BYTES):
            h_new, dh_new = load(tape.h, step.after + k, j), load(scratch.dh, k, j)
            da = where_positive(h_new, dh_new) if layer.kind == RNN_RELU else dh_new * (_one(h_new) - h_new * h_new)
            store(scratch.dgates, step.dgates + k, j, da)
            store(scratch.dh, k, j, _zero(da))


@jit
def _gru_after(layer: Layer, tape: Tape, step: Step) -> None:
    """Compute r, then a_n; the blocks of the gate buffer are p_n r z q_n.

    1. r = sigmoid(a_r)
    2. a_n = p_n + r q_n
    """
    gates, H = tape.gates, layer.block
    for row in range(step.gates, step.gates + step.rows):
        for j in range(0, H, VECTOR_BYTES):
            r = sigmoid(load(gates, row, j + H))  # 1
            store(gates, row, j + H, r)
            store(gates, row, j, r * load(gates, row, j + 3 * H) + load(gates, row, j))  # 2


@jit
def _gru_after_backward(layer: Layer, tape: Tape, scratch: Scratch, step: Step) -> None:
    gates, dgates, H = tape.gates, scratch.dgates, layer.block
    for k in range(step.rows):
        row, drow = step.gates + k, step.dgates + k
        for j in range(0, H, VECTOR_BYTES):
            r, q_n, da_n = load(gates, row, j + H), load(gates, row, j + 3 * H), load(dgates, drow, j)
            store(dgates, drow, j + 3 * H, da_n * r)  # 2
            store(dgates, drow, j + H, da_n * q_n * r * (_one(r) - r))  # 2, 1


@jit
def _gru_before(layer: Layer, tape: Tape, step: Step) -> None:
    """Compute r and u = r h; the blocks are r z n.

    1. r = sigmoid(a_r)
    2. u = r h
    """
    for k in range(step.rows):
        row = step.gates + k
        for j in range(0, layer.block, VECTOR_BYTES):
            r = sigmoid(load(tape.gates, row, j))  # 1
            store(tape.gates, row, j, r)
            store(tape.extra, row, j, r * load(tape.h, step.before + k, j))  # 2


@jit
def gru_reset_backward(layer: Layer, tape: Tape, scratch: Scratch, step: Step) -> None:
    """Run the backward of r and u of GRU_BEFORE, given du in ``scratch.dm``."""
    for k in range(step.rows):
        for j in range(0, layer.block, VECTOR_BYTES):
            r, du = load(tape.gates, step.gates + k, j), load(scratch.dm, k, j)
            store(scratch.dh, k, j, du * r + load(scratch.dh, k, j))  # 2
            dr = du * load(tape.h, step.before + k, j)  # 2
            store(scratch.dgates, step.dgates + k, j, dr * r * (_one(r) - r))  # 1


@jit
def gru_state(layer: Layer, tape: Tape, step: Step) -> None:
    """Compute z, n and the new state, the end of each GRU's step.

    3. z = sigmoid(a_z)
    4. n = tanh(a_n)
    5. h_new = (1 - z) n + z h
    """
    gates, n_at, z_at = tape.gates, layer.n_block * layer.block, layer.z_block * layer.block
    for k in range(step.rows):
        row = step.gates + k
        for j in range(0, layer.block, VECTOR_BYTES):
            z, n = sigmoid(load(gates, row, z_at + j)), tanh(load(gates, row, n_at + j))  # 3, 4
            store(gates, row, z_at + j, z)
            store(gates, row, n_at + j, n)
            store(tape.h, step.after + k, j, z * (load(tape.h, step.before + k, j) - n) + n)  # 5


@jit
def _gru_state_backward(layer: Layer, tape: Tape, scratch: Scratch, step: Step) -> None:
    gates, dgates, n_at, z_at = tape.gates, scratch.dgates, layer.n_block * layer.block, layer.z_block * layer.block
    for k in range(step.rows):
        row, drow = step.gates + k, step.dgates + k
        for j in range(0, layer.block, VECTOR_BYTES):
            n, z, dh_new = load(gates, row, n_at + j), load(gates, row, z_at + j), load(scratch.dh, k, j)
            dn, dz = dh_new * (_one(z) - z), dh_new * (load(tape.h, step.before + k, j) - n)  # 5
            store(scratch.dh, k, j, dh_new * z)  # 5
            store(dgates, drow, n_at + j, dn * (_one(n) - n * n))  # 4
            store(dgates, drow, z_at + j, dz * z * (_one(z) - z))  # 3


@jit
def _lstm(layer: Layer, tape: Tape, step: Step, peephole: Matrix) -> None:
    """Compute the gates and states of an LSTM; the blocks are i f g o. With a projection m goes to ``tape.m``.

    1. i = sigmoid(a_i + w_i c), f = sigmoid(a_f + w_f c), g = tanh(a_g)
    2. c_new = f c + i g
    3. o = sigmoid(a_o + w_o c_new)
    4. h_new = m = o tanh(c_new)
    """
    gates, c, H = tape.gates, tape.c, layer.block
    m, m_row = (tape.m, step.gates) if layer.projected else (tape.h, step.after)
    for k in range(step.rows):
        row, before, after = step.gates + k, step.before + k, step.after + k
        for j in range(0, H, VECTOR_BYTES):
            a_i, a_f, a_o = load(gates, row, j), load(gates, row, j + H), load(gates, row, j + 3 * H)
            c_old = load(c, before, j)
            if layer.peephole:
                a_i = load(peephole, 0, j) * c_old + a_i
                a_f = load(peephole, 1, j) * c_old + a_f
            i, f, g = sigmoid(a_i), sigmoid(a_f), tanh(load(gates, row, j + 2 * H))  # 1
            c_new = f * c_old + i * g  # 2
            if layer.peephole:
                a_o = load(peephole, 2, j) * c_new + a_o
            o, tanh_c = sigmoid(a_o), tanh(c_new)  # 3
            store(gates, row, j, i)
            store(gates, row, j + H, f)
            store(gates, row, j + 2 * H, g)
            store(gates, row, j + 3 * H, o)
            store(c, after, j, c_new)
            store(tape.extra, row, j, tanh_c)
            store(m, m_row + k, j, o * tanh_c)  # 4


@jit
def _lstm_backward(layer: Layer, tape: Tape, scratch: Scratch, step: Step, peephole: Matrix) -> None:
    gates, c, dgates, dc, H = tape.gates, tape.c, scratch.dgates, scratch.dc, layer.block
    dm = scratch.dm if layer.projected else scratch.dh
    for k in range(step.rows):
        row, drow, before, after = step.gates + k, step.dgates + k, step.before + k, step.after + k
        for j in range(0, H, VECTOR_BYTES):
            i, f = load(gates, row, j), load(gates, row, j + H)
            g, o = load(gates, row, j + 2 * H), load(gates, row, j + 3 * H)
            tanh_c, c_old, dm_new, one = load(tape.extra, row, j), load(c, before, j), load(dm, k, j), _one(i)
            da_o = dm_new * tanh_c * o * (one - o)  # 4, 3
            dc_new = dm_new * o * (one - tanh_c * tanh_c) + load(dc, k, j)  # 4
            if layer.peephole:
                dc_new = da_o * load(peephole, 2, j) + dc_new  # 3
            da_i, da_f = dc_new * g * i * (one - i), dc_new * c_old * f * (one - f)  # 2, 1
            dc_old = dc_new * f  # 2
            if layer.peephole:
                dc_old = da_i * load(peephole, 0, j) + da_f * load(peephole, 1, j) + dc_old  # 1
                _add_to_peephole(scratch.sums, j, da_i * c_old, da_f * c_old, da_o * load(c, after, j))  # 3, 1
            store(dgates, drow, j, da_i)
            store(dgates, drow, j + H, da_f)
            store(dgates, drow, j + 2 * H, dc_new * i * (one - g * g))  # 2, 1
            store(dgates, drow, j + 3 * H, da_o)
            store(dc, k, j, dc_old)


@jit
def _add_to_peephole(sums: Matrix, j: int, dw_i: Any, dw_f: Any, dw_o: Any) -> None:
    store(sums, 1, j, load(sums, 1, j) + dw_i)
    store(sums, 2, j, load(sums, 2, j) + dw_f)
    store(sums, 3, j, load(sums, 3, j) + dw_o)
