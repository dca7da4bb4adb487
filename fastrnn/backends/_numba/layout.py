"""Memory layouts: the columns of the gate buffer, the tape, and the scratch memory of backward.

The units of a gate fill whole vectors: a row of ``H`` numbers is padded to ``Hp``, the next multiple of the vector's
length, so no kernel has a tail. ``Ip`` and ``Yp`` are padded in the same way. Padded units have zero weights and never
affect a result.

A row of the gate buffer has one block of Hp columns for each gate, in torch's order. The GRU with reset_after differs,
because the two terms of n are added only after the reset gate: its blocks are ``p_n r z q_n``, so the input's gates (n r z)
and the recurrent ones (r z n) are each contiguous.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..structs import CellSpec
from .jit import VECTOR_BYTES, jit
from .simd import Matrix

RNN_TANH, RNN_RELU, GRU_AFTER, GRU_BEFORE, GRU_PLAIN, LSTM = range(6)

# Rows of the gate buffer that one product fills and the loop over time then uses while they are in cache.
CHUNK = 128


class Layer(NamedTuple):
    """A CellSpec as integers, for compiled code. Python passes it as an array (see :func:`unpack`)."""

    kind: int
    inputs: int  # I
    hidden: int  # H
    outputs: int  # Y
    item: int  # bytes of a number
    gates: int  # G; the input's gates are blocks 0..G-1 of the gate buffer
    block: int  # bytes of Hp numbers
    input_row: int  # bytes of Ip numbers
    output_row: int  # bytes of Yp numbers
    gates_row: int  # bytes of a row of the gate buffer
    recurrent_block: int  # the first block that h R^T is added to
    recurrent_blocks: int  # the number of these blocks
    rotation: int  # the input's block k is gate (k + rotation) % G
    n_block: int  # GRU: block of n
    z_block: int  # GRU: block of z
    projected: int  # 0 or 1
    peephole: int  # 0 or 1
    biased: int  # 0 or 1


def layer(spec: CellSpec, biased: bool) -> Layer:
    """Convert a CellSpec to a Layer, with or without biases."""
    kind, G = _kind(spec), spec.gates
    after, before = kind == GRU_AFTER, kind == GRU_BEFORE
    item = np.dtype(spec.dtype).itemsize
    block = padded(spec.hidden_size * item)
    # An odd number of vectors, so the rows do not fall on the same few sets of a cache.
    gates_row = ((4 if after else G) * block // VECTOR_BYTES | 1) * VECTOR_BYTES
    return Layer(
        kind=kind,
        inputs=spec.input_size,
        hidden=spec.hidden_size,
        outputs=spec.output_size,
        item=item,
        gates=G,
        block=block,
        input_row=padded(spec.input_size * item),
        output_row=padded(spec.output_size * item),
        gates_row=gates_row,
        recurrent_block=int(after),
        recurrent_blocks=2 if before else G,
        rotation=2 if after else 0,
        n_block=2 if before else int(kind == GRU_PLAIN),
        z_block=2 if after else int(before),
        projected=int(spec.proj_size > 0),
        peephole=int(spec.peephole),
        biased=int(biased),
    )


def padded(size: int) -> int:
    """Round a size in bytes up to a multiple of a vector's bytes."""
    return -(-size // VECTOR_BYTES) * VECTOR_BYTES


def _kind(spec: CellSpec) -> int:
    if spec.cell == "lstm":
        return LSTM
    if spec.cell == "rnn":
        return RNN_TANH if spec.nonlinearity == "tanh" else RNN_RELU
    if not spec.reset_gate:
        return GRU_PLAIN
    return GRU_AFTER if spec.reset_after else GRU_BEFORE


@jit
def unpack(f: Any) -> Layer:
    """Return the Layer in an int64 array. Python passes arrays, because a named tuple costs 1.3 us a call, an array 0.02."""
    return Layer(
        f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9], f[10], f[11], f[12], f[13], f[14], f[15], f[16], f[17]
    )


def chunk_rows(B: int, rows: int) -> int:
    """Return the largest number of rows of a chunk of steps (see :mod:`.rows`)."""
    return min(rows, max(B, CHUNK))


class Tape(NamedTuple):
    """Values that forward writes and backward reads, one row for each step of each sequence (see :mod:`.rows`).

    ``h`` and ``c`` begin with B rows for the initial states, so the states after gate row r are in row B + r.
    """

    gates: Matrix  # [rows, blocks], activated
    h: Matrix  # [B + rows, Yp]
    c: Matrix  # [B + rows, Hp], LSTM
    m: Matrix  # [rows, Hp], LSTM with projection: o tanh(c)
    extra: Matrix  # [rows, Hp], LSTM: tanh(c); GRU_BEFORE: r h


def tape_shapes(layer: Layer, B: int, rows: int) -> Any:
    """Return the number of rows and the bytes of a row for each matrix of :class:`Tape`."""
    lstm = layer.kind == LSTM
    return (
        (rows, layer.gates_row),
        (B + rows, layer.output_row),
        (B + rows if lstm else 0, layer.block),
        (rows if layer.projected else 0, layer.block),
        (rows if lstm or layer.kind == GRU_BEFORE else 0, layer.block),
    )


@jit
def tape_of(layer: Layer, B: int, rows: int, address: int, zero: float) -> Tape:
    """Lay out the tape in a block of memory."""
    shapes = _tape_shapes(layer, B, rows)
    gates = Matrix(aligned(address), shapes[0][1], zero)
    h = _next(gates, shapes[0], shapes[1])
    c = _next(h, shapes[1], shapes[2])
    m = _next(c, shapes[2], shapes[3])
    return Tape(gates, h, c, m, _next(m, shapes[3], shapes[4]))


class Scratch(NamedTuple):
    """Memory of backward in addition to the tape; the matrices with ``n`` rows hold one chunk of steps."""

    dgates: Matrix  # [n, blocks]
    dh: Matrix  # [B, Yp], gradient of the states after the current step
    dc: Matrix  # [B, Hp], LSTM
    dm: Matrix  # [B, Hp], LSTM with projection: of m; GRU_BEFORE: of r h
    dy: Matrix  # [n, Yp], first dy, then with a projection the whole gradient of the states
    dcs: Matrix  # [n, Hp], LSTM: the gradient of all cell states
    x: Matrix  # [n, Ip]
    h: Matrix  # [n, Yp], the states before
    dx: Matrix  # [n, Ip]
    # Gradients of parameters whose rows are not whole vectors:
    W: Matrix  # [G*H, Ip]; for token ids [distinct ids, blocks]
    R: Matrix  # [G*H, Yp]
    projection: Matrix  # [P, Hp]
    sums: Matrix  # [4, blocks]: dgates summed over the rows; the peephole's i, f, o


def scratch_shapes(layer: Layer, B: int, rows: int, ids: bool) -> Any:
    """Return the number of rows and the bytes of a row for each matrix of :class:`Scratch`; ``rows`` counts all steps."""
    n, lstm, GH = min(rows, max(B, CHUNK)), layer.kind == LSTM, layer.gates * layer.hidden
    padded_W = layer.inputs * layer.item < layer.input_row
    padded_R = layer.outputs * layer.item < layer.output_row
    padded_projection = layer.hidden * layer.item < layer.block
    return (
        (n, layer.gates_row),
        (B, layer.output_row),
        (B if lstm else 0, layer.block),
        (B if layer.projected or layer.kind == GRU_BEFORE else 0, layer.block),
        (n, layer.output_row),
        (n if lstm else 0, layer.block),
        (0 if ids else n, layer.input_row),
        (n, layer.output_row),
        (0 if ids else n, layer.input_row),
        (min(rows, layer.inputs), layer.gates_row) if ids else (GH if padded_W else 0, layer.input_row),
        (GH if padded_R else 0, layer.output_row),
        (layer.outputs if layer.projected and padded_projection else 0, layer.block),
        (4, layer.gates_row),
    )


@jit
def scratch_of(layer: Layer, B: int, rows: int, ids: bool, address: int, zero: float) -> Scratch:
    """Lay out the scratch matrices in a block of memory."""
    shapes = _scratch_shapes(layer, B, rows, ids)
    dgates = Matrix(aligned(address), shapes[0][1], zero)
    dh = _next(dgates, shapes[0], shapes[1])
    dc = _next(dh, shapes[1], shapes[2])
    dm = _next(dc, shapes[2], shapes[3])
    dy = _next(dm, shapes[3], shapes[4])
    dcs = _next(dy, shapes[4], shapes[5])
    x = _next(dcs, shapes[5], shapes[6])
    h = _next(x, shapes[6], shapes[7])
    dx = _next(h, shapes[7], shapes[8])
    W = _next(dx, shapes[8], shapes[9])
    R = _next(W, shapes[9], shapes[10])
    projection = _next(R, shapes[10], shapes[11])
    return Scratch(dgates, dh, dc, dm, dy, dcs, x, h, dx, W, R, projection, _next(projection, shapes[11], shapes[12]))


@jit
def aligned(address: int) -> int:
    """Round an address up to a cache line of 64 bytes, because loading a vector across two lines takes twice as long."""
    return (address + 63) // 64 * 64


@jit
def _next(matrix: Matrix, shape: Any, next_shape: Any) -> Matrix:
    """Return the matrix that follows one of the given shape."""
    return Matrix(matrix.address + shape[0] * shape[1], next_shape[1], matrix.zero)


# Python sums the shapes to allocate a block; compiled code lays out the matrices with the same functions.
_tape_shapes, _scratch_shapes = jit(tape_shapes), jit(scratch_shapes)


def block_bytes(shapes: tuple[tuple[int, int], ...]) -> int:
    """Return the bytes of a block for these shapes, with room to align it."""
    return sum(rows * row for rows, row in shapes) + 63
