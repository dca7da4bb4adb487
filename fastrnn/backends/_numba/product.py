"""Matrix products ``C += A B``, where B is stored in panels as wide as one vector.

A tile of C stays in registers while the sum runs over k: each row of the tile multiplies a vector of B by one element
of A. Each element of C is summed in the order of k whatever the tile, so a result does not depend on the number of
rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .jit import ISA, VECTOR_BYTES, intrinsic, jit
from .simd import CONTRACT, Matrix, Vector, byte_pointer, emit_load, emit_splat, emit_store, ir_type, item_size

# Rows of B that stay in the first-level cache while all rows of C use them.
DEPTH = 256
# Rows of a tile. A tile is four vectors wide, so it fits in the 32 registers of AVX-512 and NEON or the 16 of AVX2.
ROWS = 4 if ISA in ("avx512", "neon") else 2


class Panels(NamedTuple):
    """A matrix B ``[K,N]`` in panels ``[N/lanes, K, lanes]``: address, and distances between panels and between rows."""

    address: int
    panel: int
    row: int


@jit
def as_panels(matrix: Matrix) -> Panels:
    """View a matrix as panels; its rows must be whole vectors."""
    return Panels(matrix.address, VECTOR_BYTES, matrix.row)


@jit
def below(matrix: Matrix, row: int, byte: int) -> Matrix:
    """Return the part of a matrix that begins at a row and ``byte`` bytes into it."""
    return Matrix(matrix.address + row * matrix.row + byte, matrix.row, matrix.zero)


def _tile(rows: int, width: int) -> Any:
    """Make the micro-kernel for a tile of ``rows`` x ``width`` vectors.

    ``c``, ``a``, ``b`` are the addresses of the first elements; ``a_row`` and ``a_step`` are the distances between
    rows of A and between the elements of one row.
    """

    @intrinsic
    def tile(
        typing_context: Any, zero: Any, c: Any, c_row: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_panel: Any,
        b_row: Any, depth: Any,
    ) -> Any:  # fmt: skip
        vector = Vector(zero)

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_tile(builder, vector, rows, width, args[1:])
            return context.get_dummy_value()

        return types.void(zero, *[types.intp] * 9), emit

    return tile


def _emit_tile(builder: ir.IRBuilder, vector: Vector, rows: int, width: int, args: list[ir.Value]) -> None:
    c, c_row, a, a_row, a_step, b, b_panel, b_row, depth = args

    def place(address: ir.Value, distance: ir.Value, count: int, offset: int = 0) -> ir.Value:
        skipped = builder.add(builder.mul(distance, distance.type(count)), distance.type(offset))
        return byte_pointer(builder, builder.add(address, skipped))

    c_at = [[place(c, c_row, r, v * VECTOR_BYTES) for v in range(width)] for r in range(rows)]
    a_at = [place(a, a_row, r) for r in range(rows)]
    b_at = [place(b, b_panel, v) for v in range(width)]
    loaded = [[emit_load(builder, at, vector) for at in row] for row in c_at]
    sums = [[cgutils.alloca_once_value(builder, v) for v in row] for row in loaded]  # type: ignore[no-untyped-call]
    with cgutils.for_range(builder, depth) as loop:
        a_offset, b_offset = builder.mul(loop.index, a_step), builder.mul(loop.index, b_row)
        b_values = [emit_load(builder, builder.gep(at, [b_offset]), vector) for at in b_at]
        for at, row in zip(a_at, sums, strict=True):
            element = builder.bitcast(builder.gep(at, [a_offset]), ir_type(vector).element.as_pointer())
            a_value = emit_splat(builder, builder.load(element), vector)
            for total, b_value in zip(row, b_values, strict=True):
                term = builder.fmul(a_value, b_value, flags=CONTRACT)
                builder.store(builder.fadd(term, builder.load(total), flags=CONTRACT), total)
    for places, row in zip(c_at, sums, strict=True):
        for at, total in zip(places, row, strict=True):
            emit_store(builder, builder.load(total), at, vector)


def _strip(width: int) -> Any:
    """Make the product for ``width`` panels of B and all rows of C."""
    tall, pair, single = _tile(ROWS, width), _tile(2, width), _tile(1, width)

    @jit
    def strip(
        zero: float, c: int, c_row: int, a: int, a_row: int, a_step: int, b: int, b_panel: int, b_row: int, depth: int,
        rows: int,
    ) -> None:  # fmt: skip
        row = 0
        while rows - row >= ROWS:
            tall(zero, c + row * c_row, c_row, a + row * a_row, a_row, a_step, b, b_panel, b_row, depth)
            row += ROWS
        while rows - row >= 2:
            pair(zero, c + row * c_row, c_row, a + row * a_row, a_row, a_step, b, b_panel, b_row, depth)
            row += 2
        if row < rows:
            single(zero, c + row * c_row, c_row, a + row * a_row, a_row, a_step, b, b_panel, b_row, depth)

    return strip


_strip4, _strip2, _strip1 = _strip(4), _strip(2), _strip(1)


@jit
def _product(
    zero: float, c: int, c_row: int, a: int, a_row: int, a_step: int, b: Panels, rows: int, depth: int, panels: int
) -> None:
    for k in range(0, depth, DEPTH):
        a_at, K, panel = a + k * a_step, min(DEPTH, depth - k), 0
        while panel < panels:
            c_at, b_at, left = c + panel * VECTOR_BYTES, b.address + panel * b.panel + k * b.row, panels - panel
            if left >= 4:
                _strip4(zero, c_at, c_row, a_at, a_row, a_step, b_at, b.panel, b.row, K, rows)
                panel += 4
            elif left >= 2:
                _strip2(zero, c_at, c_row, a_at, a_row, a_step, b_at, b.panel, b.row, K, rows)
                panel += 2
            else:
                _strip1(zero, c_at, c_row, a_at, a_row, a_step, b_at, b.panel, b.row, K, rows)
                panel += 1


@jit
def add_product(c: Matrix, a: Matrix, b: Panels, rows: int, depth: int, panels: int) -> None:
    """Add ``a b`` to ``c [rows, panels*lanes]``, with ``a [rows, depth]``; c overlaps neither a nor b."""
    _product(c.zero, c.address, c.row, a.address, a.row, item_size(a), b, rows, depth, panels)


@jit
def add_transposed_product(c: Matrix, a: Matrix, b: Panels, rows: int, depth: int, panels: int) -> None:
    """Add ``a^T b`` to ``c [rows, panels*lanes]``, with ``a [depth, rows]``; c overlaps neither a nor b."""
    _product(c.zero, c.address, c.row, a.address, item_size(a), a.row, b, rows, depth, panels)
