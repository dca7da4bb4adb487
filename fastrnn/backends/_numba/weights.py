"""Packed weights, which the products and the cells read.

The recurrent product ``h R^T`` and the input product ``x W^T`` need the transposes; ``dgates R`` and ``dgates W`` in
backward need the matrices themselves. Both are stored in panels ``[N / lanes, K, lanes]`` (see :mod:`.product`), with zeros
for a gate's padded units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .jit import VECTOR_BYTES, jit, jit_entry
from .layout import Layer, unpack
from .product import Panels, below
from .simd import Matrix, address_of, copy_bytes, item_size, load, load_element, matrix, store, store_element


class ForwardArrays(NamedTuple):
    """Packed arrays for forward; a gate has ``Hp / lanes`` panels. W has the gate buffer's order of blocks, R torch's."""

    W: Any  # [G*Hp/lanes, I, lanes]
    R: Any  # [G*Hp/lanes, Y, lanes]
    projection: Any  # [Yp/lanes, H, lanes], or empty
    bias: Any  # [1, blocks]: the initial value of each row of the gate buffer
    peephole: Any  # [3, Hp]


class BackwardArrays(NamedTuple):
    """Packed arrays for backward; row ``k Hp + j`` of a panel is for unit j of block k (W) or of gate k (R)."""

    W: Any  # [Ip/lanes, G*Hp, lanes]
    R: Any  # [Yp/lanes, G*Hp, lanes]
    projection: Any  # [Hp/lanes, P, lanes], or empty


class Weights(NamedTuple):
    """Packed weights in compiled code, for forward or backward; backward does not use the bias."""

    W: Panels
    R: Panels
    projection: Panels
    bias: Matrix
    peephole: Matrix


def forward_shapes(layer: Layer, lanes: int) -> ForwardArrays:
    """Return the shapes of the arrays for forward."""
    vectors = layer.block // VECTOR_BYTES
    return ForwardArrays(
        W=(layer.gates * vectors, layer.inputs, lanes),
        R=(layer.gates * vectors, layer.outputs, lanes),
        projection=(layer.output_row // VECTOR_BYTES if layer.projected else 0, layer.hidden, lanes),
        bias=(1, layer.gates_row // VECTOR_BYTES * lanes),
        peephole=(3, vectors * lanes),
    )


def backward_shapes(layer: Layer, lanes: int) -> BackwardArrays:
    """Return the shapes of the arrays for backward."""
    vectors = layer.block // VECTOR_BYTES
    return BackwardArrays(
        W=(layer.input_row // VECTOR_BYTES, layer.gates * vectors * lanes, lanes),
        R=(layer.output_row // VECTOR_BYTES, layer.gates * vectors * lanes, lanes),
        projection=(vectors if layer.projected else 0, layer.outputs, lanes),
    )


@jit
def panels_of(array: Any) -> Panels:
    """View an array ``[panels, K, lanes]`` as panels."""
    return Panels(address_of(array), array.shape[1] * VECTOR_BYTES, VECTOR_BYTES)


@jit
def weights_of(layer: Layer, W: Any, R: Any, projection: Any, bias: Any, peephole: Any) -> Weights:
    """Combine packed arrays into the weights that compiled code takes."""
    zero = W.dtype.type(0)
    return Weights(
        panels_of(W),
        panels_of(R),
        panels_of(projection),
        Matrix(address_of(bias), layer.gates_row, zero),
        Matrix(address_of(peephole), layer.block, zero),
    )


@jit_entry
def pack_forward(
    fields: Any, W: Any, R: Any, projection: Any, b_ih: Any, b_hh: Any, peephole: Any,
    W_panels: Any, R_panels: Any, projection_panels: Any, bias: Any, peephole_padded: Any,
) -> None:  # fmt: skip
    """Fill the arrays for forward, which hold zeros; absent parameters are empty arrays."""
    layer, zero = unpack(fields), bias.dtype.type(0)
    H, Hp, item, vectors = layer.hidden, layer.block // layer.item, layer.item, layer.block // VECTOR_BYTES
    Ws, Rs = matrix(W, layer.inputs * item, zero), matrix(R, layer.outputs * item, zero)
    for k in range(layer.gates):
        gate = (k + layer.rotation) % layer.gates
        _pack_transposed(panels_of(W_panels), k * vectors, below(Ws, gate * H, 0), layer.inputs, H)
        _pack_transposed(panels_of(R_panels), k * vectors, below(Rs, k * H, 0), layer.outputs, H)
        if layer.biased:
            for j in range(H):
                bias[0, k * Hp + j] += b_ih[gate * H + j]
                bias[0, (layer.recurrent_block + k) * Hp + j] += b_hh[k * H + j]
    if layer.projected:
        _pack_transposed(panels_of(projection_panels), 0, matrix(projection, H * item, zero), H, layer.outputs)
    if layer.peephole:
        for k in range(3):
            for j in range(H):
                peephole_padded[k, j] = peephole[k * H + j]


@jit_entry
def pack_backward(
    fields: Any, W: Any, R: Any, projection: Any, W_panels: Any, R_panels: Any, projection_panels: Any
) -> None:
    """Fill the arrays for backward, which hold zeros; absent parameters are empty arrays."""
    layer, zero = unpack(fields), W.dtype.type(0)
    H, Hp, item = layer.hidden, layer.block // layer.item, layer.item
    Ws, Rs = matrix(W, layer.inputs * item, zero), matrix(R, layer.outputs * item, zero)
    for k in range(layer.gates):
        gate = (k + layer.rotation) % layer.gates
        _pack(panels_of(W_panels), k * Hp, below(Ws, gate * H, 0), H)
        _pack(panels_of(R_panels), k * Hp, below(Rs, k * H, 0), H)
    if layer.projected:
        _pack(panels_of(projection_panels), 0, matrix(projection, H * item, zero), layer.outputs)


@jit
def _pack_transposed(target: Panels, panel: int, matrix: Matrix, columns: int, rows: int) -> None:
    """Copy the transpose of a matrix ``[rows, columns]`` into panels, from panel ``panel`` on."""
    item = item_size(matrix)
    lanes = VECTOR_BYTES // item
    for n in range(rows):
        to = target.address + (panel + n // lanes) * target.panel + n % lanes * item
        column = Matrix(to, target.row, matrix.zero)
        for k in range(columns):
            store_element(column, k, 0, load_element(matrix, n, k * item))


@jit
def _pack(target: Panels, row: int, matrix: Matrix, rows: int) -> None:
    """Copy the rows of a matrix into the rows of panels, from row ``row`` on."""
    whole = matrix.row // VECTOR_BYTES
    for panel in range(whole):
        to = Matrix(target.address + panel * target.panel + row * target.row, target.row, matrix.zero)
        for k in range(rows):
            store(to, k, 0, load(matrix, k, panel * VECTOR_BYTES))
    at = whole * VECTOR_BYTES
    if at < matrix.row:
        to_rest = target.address + whole * target.panel + row * target.row
        for k in range(rows):
            copy_bytes(to_rest + k * target.row, matrix.address + k * matrix.row + at, matrix.row - at)
