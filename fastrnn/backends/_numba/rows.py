"""The order in which sequences run. Only this module handles lengths and direction.

Sequences are sorted by length, the longest first, so the first ``count[s]`` of them run at step s. The rows of all steps
follow each other without gaps: row ``offset[s] + k`` is step s of the k-th longest sequence, and ``source[row]`` is its row
among the ``T*B`` rows of x and y. Padding has no rows, so it costs nothing. Sequences of length 0 have no rows and come
last; if all have length 0, there are no steps.

A chunk is a range of steps with about CHUNK rows. The matrix products over whole rows handle one chunk at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .jit import VECTOR_BYTES, jit
from .layout import CHUNK
from .simd import Matrix, clear_bytes, copy_bytes, item_size, load, load_element, store, store_element


class Rows(NamedTuple):
    """Order of the rows, in int64 arrays."""

    steps: int  # of the longest sequence
    full: bool  # all sequences run at all steps
    in_order: bool  # source[row] == row
    order: Any  # [B], sequence numbers, the longest first
    count: Any  # [T + 1], number of sequences that run at step s
    offset: Any  # [T + 1], the first row of step s
    source: Any  # [rows]


def block_elements(T: int, B: int, rows: int) -> int:
    """Return the size of the int64 block that holds the arrays of :class:`Rows`."""
    return B + 2 * (T + 1) + rows


@jit
def _arrays(T: int, B: int, block: Any) -> Any:
    split = B + T + 1
    return block[:B], block[B:split], block[split : split + T + 1], block[split + T + 1 :]


@jit
def sort_rows(T: int, B: int, lengths: Any, reverse: bool, block: Any) -> Rows:
    """Sort the sequences by length, and fill a block with the arrays of :class:`Rows`; no ``lengths`` means all are T."""
    order, count, offset, source = _arrays(T, B, block)
    for s in range(T + 1):
        count[s] = 0
    if lengths.size:
        for b in range(B):
            if lengths[b] > 0:
                count[lengths[b] - 1] += 1
        for s in range(T - 1, 0, -1):
            count[s - 1] += count[s]
        # count[n] sequences are longer than n: they come before those of length n.
        for s in range(T + 1):
            offset[s] = count[s]
        for b in range(B):
            order[offset[lengths[b]]] = b
            offset[lengths[b]] += 1
    else:
        for s in range(T):
            count[s] = B
        for b in range(B):
            order[b] = b
    offset[0] = 0
    for s in range(T):
        offset[s + 1] = offset[s] + count[s]
    for s in range(T):
        for k in range(count[s]):
            b = order[k]
            last = lengths[b] - 1 if lengths.size else T - 1
            source[offset[s] + k] = (last - s if reverse else s) * B + b
    rows: Rows = sorted_rows(T, B, lengths, reverse, block)
    return rows


@jit
def sorted_rows(T: int, B: int, lengths: Any, reverse: bool, block: Any) -> Rows:
    """Return the rows in a block that :func:`sort_rows` has filled."""
    order, count, offset, source = _arrays(T, B, block)
    steps = T
    while steps > 0 and count[steps - 1] == 0:
        steps -= 1
    full = lengths.size == 0
    return Rows(steps, full, full and not reverse, order, count, offset, source)


@jit
def chunk_end(rows: Rows, first: int) -> int:
    """Return the step after the last one of the chunk that begins with step ``first``."""
    end = first + 1
    while end < rows.steps and rows.offset[end + 1] - rows.offset[first] <= CHUNK:
        end += 1
    return end


@jit
def chunk_begin(rows: Rows, end: int) -> int:
    """Return the first step of the chunk that ends before step ``end``."""
    first = end - 1
    while first > 0 and rows.offset[end] - rows.offset[first - 1] <= CHUNK:
        first -= 1
    return first


@jit
def gather(target: Matrix, matrix: Matrix, source: Any, first: int, count: int) -> None:
    """Copy ``target[k] = matrix[source[first + k]]``, with zeros at the end if a row of target is longer."""
    for k in range(count):
        row = target.address + k * target.row
        copy_bytes(row, matrix.address + source[first + k] * matrix.row, matrix.row)
        if matrix.row < target.row:
            clear_bytes(row + matrix.row, target.row - matrix.row)


@jit
def scatter(target: Matrix, matrix: Matrix, source: Any, first: int, count: int) -> None:
    """Copy ``target[source[first + k]] = matrix[k]``, as many bytes as a row of target has."""
    for k in range(count):
        copy_bytes(target.address + source[first + k] * target.row, matrix.address + k * matrix.row, target.row)


@jit
def copy_rows(target: Matrix, matrix: Matrix, count: int) -> None:
    """Copy ``target[k] = matrix[k]``; rows have the same size and do not overlap."""
    copy_bytes(target.address, matrix.address, count * matrix.row)


@jit
def clear_rows(target: Matrix, count: int) -> None:
    """Fill ``count`` rows with zeros."""
    clear_bytes(target.address, count * target.row)


@jit
def add_row(target: Matrix, to: int, matrix: Matrix, row: int, size: int) -> None:
    """Add ``size`` bytes of row ``row`` of matrix to row ``to`` of target."""
    vectors = size // VECTOR_BYTES * VECTOR_BYTES
    for j in range(0, vectors, VECTOR_BYTES):
        store(target, to, j, load(target, to, j) + load(matrix, row, j))
    for j in range(vectors, size, item_size(target)):
        store_element(target, to, j, load_element(target, to, j) + load_element(matrix, row, j))


@jit
def add_rows(target: Matrix, matrix: Matrix, count: int) -> None:
    """Add row k of matrix to row k of target, as many bytes as a row of target has."""
    for k in range(count):
        add_row(target, k, matrix, k, target.row)
