"""The C library's structures for a stack and for calls of one size, cached because sizes repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..._core import memory
from ..._core.arrays import Array
from ..base import Run
from ..precision import Choice, wanted_by
from ..structs import BATCH_MAJOR, PACKED, TIME_MAJOR, CellSpec, CompressedWeights, StackSpec, Weights
from .library import (
    DTYPES,
    NULL,
    aligned,
    ffi,
    from_buffer,
    int64s,
    lib,
    pointer,
    take_workspace,
    thread_workspace,
)
from .precision import PRODUCTS, alike, choose, choose_for_batch, largest_columns, matched, smallest_batch

ROWS = {
    TIME_MAJOR: lib.FASTRNN_TIME_MAJOR,
    BATCH_MAJOR: lib.FASTRNN_BATCH_MAJOR,
    PACKED: lib.FASTRNN_PACKED,
}

_WEIGHTS = {
    "full": lib.FASTRNN_WEIGHTS_FULL,
    "bfloat16": lib.FASTRNN_WEIGHTS_BFLOAT16,
    "int8": lib.FASTRNN_WEIGHTS_INT8,
}

MOST_KERNELS = MOST_CALLS = 256  # stacks, and sizes of each, that are cached


def _cell(spec: CellSpec) -> int:
    """Return the library's number for the cell's variant."""
    if spec.cell == "rnn":
        name = "RNN_TANH" if spec.nonlinearity == "tanh" else "RNN_RELU"
    elif spec.cell == "gru":
        name = "GRU_NO_RESET" if not spec.reset_gate else "GRU" if spec.reset_after else "GRU_RESET_BEFORE"
    else:
        name = "LSTM_PEEPHOLE" if spec.peephole else "LSTM"
    return int(getattr(lib, f"FASTRNN_{name}"))


class Call:
    """Structures of a forward or backward call for one batch: shapes of the outputs, sizes of memory, and the allocator.

    Backward uses its forward's call, because memory sized for a number of threads must be used with that number.
    """

    __slots__ = ("batch", "c", "cells", "dx", "empty", "h", "ids", "lengths", "tape", "workspace", "y")

    def __init__(
        self, kernel: Kernel, shape: tuple[int, ...], rows: str, training: bool, threads: int, lengths: Array | None = None
    ) -> None:
        spec, cell = kernel.spec, kernel.spec.cell
        T, B, places = _sizes(shape, rows, lengths)
        self.ids = len(shape) == len(places)
        self.lengths = lengths  # the batch points into this array
        self.batch = ffi.new("fastrnn_batch *", (T, B, int64s(lengths), spec.reverse, threads, ROWS[rows]))
        self.y, self.h = (*places, spec.directions * cell.output_size), (spec.parts, B, cell.output_size)
        self.c = (spec.parts, B, cell.hidden_size) if cell.cell == "lstm" else None
        self.cells, self.dx = (*places, spec.directions * cell.hidden_size), (*places, cell.input_size)
        largest = T * B * max(spec.directions * cell.hidden_size, cell.input_size) * kernel.dtype.itemsize
        # memory.empty calls np.empty for small arrays; choosing here saves the test at each call.
        self.empty: Any = np.empty if largest < memory.SMALLEST_POOLED else memory.empty
        self.workspace = lib.fastrnn_forward_workspace_size(kernel.stack, self.batch, self.ids, training)
        self.tape = lib.fastrnn_tape_size(kernel.stack, self.batch, self.ids) if training else 0


def _sizes(shape: tuple[int, ...], rows: str, lengths: Array | None) -> tuple[int, int, tuple[int, ...]]:
    """Return T, B and the axes of x without its features."""
    B = batch_of(shape, rows, lengths)
    if lengths is not None and rows == PACKED:
        return int(lengths.max(initial=1)), B, shape[:1]
    return shape[0 if rows == TIME_MAJOR else 1], B, shape[:2]


def batch_of(shape: tuple[int, ...], rows: str, lengths: Array | None) -> int:
    """Return the number of sequences in an array of this shape."""
    if rows == PACKED:
        assert lengths is not None
        return len(lengths)
    return shape[1 if rows == TIME_MAJOR else 0]


STAMP = 8  # bytes at the end of a tape that tell the instruction set and the products of its kernel


class Kernel:
    """A stack on one instruction set, without weights, and the cached calls for it.

    Batches below ``smallest_batch`` run :meth:`in_float32`. With ``by_values`` so do operands that do not split well.
    """

    __slots__ = ("by_values", "calls", "choice", "dtype", "smallest_batch", "spec", "stack", "stamp")

    def __init__(self, spec: StackSpec, isa: int, precision: str) -> None:
        self.spec, self.choice = spec, choose(spec, isa, precision)
        self.smallest_batch, self.by_values = smallest_batch(self.choice.precision, isa), self.choice.precision == "high"
        cell = spec.cell
        self.dtype = np.dtype(cell.dtype)
        sizes = (cell.input_size, cell.hidden_size, cell.proj_size)
        kind = isa, DTYPES[cell.dtype], _cell(cell), spec.layers, spec.directions
        fields = (*kind, *sizes, _WEIGHTS[spec.weights], PRODUCTS[self.choice.precision])
        self.stack = ffi.new("fastrnn_stack *", fields)
        self.stamp = np.frombuffer(f"{isa:4d}{fields[-1]:4d}".encode(), np.uint8)
        self.calls: dict[Any, Call] = {}

    def call(self, shape: tuple[int, ...], rows: str, training: bool, lengths: Array | None = None) -> Call:
        """Return the call for x of a shape; without lengths it is cached.

        For inference the number of threads is read when the call runs, because the memory does not depend on it.
        """
        key = shape, rows, training, lib.fastrnn_get_num_threads() if training else 0
        if lengths is not None:
            return Call(self, *key, lengths)
        return self.calls.get(key) or remember(self.calls, key, Call(self, *key))

    def in_float32(self) -> Kernel:
        """Return the kernel of the same stack with products in float32."""
        return _kernel(self.spec, self.stack.isa, "highest")

    def choice_for(self, B: int) -> Choice:
        """Return the precision for batches of B sequences."""
        return choose_for_batch(self.choice, self.stack.isa, B)


def remember(calls: dict[Any, Any], key: Any, call: Any) -> Any:
    """Store ``call`` in the cache ``calls``, and return it."""
    if len(calls) >= MOST_CALLS:
        calls.clear()
    calls[key] = call
    return call


def kernel_of(spec: StackSpec, isa: int) -> Kernel:
    """Return the kernel that all stacks of this specification share under the present setting of the precision."""
    return _kernel(spec, isa, wanted_by(spec))


@lru_cache(MOST_KERNELS)
def _kernel(spec: StackSpec, isa: int, precision: str) -> Kernel:
    return Kernel(spec, isa, precision)


class Prepared:
    """A stack whose weights are packed on first use, separately for inference and for training.

    ``ready`` holds the packed weights for inference, or None before their first use.
    """

    __slots__ = ("_columns", "_in_float32", "_training", "kernel", "ready", "weights")

    def __init__(self, kernel: Kernel, weights: Sequence[Weights]) -> None:
        self.kernel = kernel
        self.weights = weights
        self.ready: Any = None
        self._training: Any = None
        self._in_float32: Prepared | None = None
        self._columns: SplitColumns | None = None  # None: not known yet

    def in_float32(self) -> Prepared:
        """Return the same stack with products in float32."""
        if self._in_float32 is None:
            self._in_float32 = Prepared(self.kernel.in_float32(), self.weights)
        return self._in_float32

    def for_batch(self, B: int) -> Prepared:
        """Return the stack that runs batches of B sequences."""
        return self if self.kernel.smallest_batch <= B else self.in_float32()

    def for_values(self, x: Array, h0: Array | None) -> Prepared:
        """Return the stack that runs these values, which suit split products or not; x may be token ids."""
        if not self.kernel.by_values:
            return self
        columns = self._columns = self._columns or columns_of_split(self.weights, self.kernel.spec.directions)
        return self if columns.suit(h0, x if x.dtype == self.kernel.dtype else None) else self.in_float32()

    def packed(self, training: bool) -> Any:
        """Return the packed weights. Two threads may both pack them at first use; either result is valid."""
        packed = self._training if training else self.ready
        if packed is None:
            packed = self._pack(training)
            if training:
                self._training = packed
            if not training or self.ready is None:
                self.ready = packed  # weights packed for training also work for inference
        return packed

    def pack_all(self, training: bool) -> None:
        """Pack the weights for all batches and values now, so that the arrays may change or go."""
        self.packed(training)
        if self.kernel.smallest_batch:
            self.in_float32().pack_all(training)
            if self.kernel.by_values:
                self._columns = columns_of_split(self.weights, self.kernel.spec.directions)
        self.weights = ()

    def _pack(self, training: bool) -> Any:
        stack = self.kernel.stack
        packed = from_buffer(aligned(lib.fastrnn_packed_size(stack, training)))
        fields = [weights_fields(own) + scales_fields(own) for own in self.weights]
        lib.fastrnn_pack(stack, fields, training, packed)
        return packed


class SplitColumns(NamedTuple):
    """The suitability of a stack's weights for split products.

    ``states`` says whether those that multiply states can be, and ``inputs [I]`` has the largest magnitudes of the first
    layer's columns of W, or is None if these cannot.
    """

    states: bool
    inputs: Array | None

    def suit(self, h0: Array | None, x: Array | None) -> bool:
        """Return whether split products are as accurate as float32's for these values; x is None for token ids."""
        if not self.states or largest_columns(h0) is None:
            return False
        if x is None:
            return True
        columns = None if self.inputs is None else largest_columns(x)
        return columns is not None and self.inputs is not None and matched(columns, self.inputs)


def columns_of_split(weights: Sequence[Weights], directions: int) -> SplitColumns:
    """Return the suitability of a stack's weights, given in the order of its parts."""
    inputs = [found for own in weights[:directions] if (found := largest_columns(own.W)) is not None]
    return SplitColumns(states_split(weights, directions), np.max(inputs, axis=0) if len(inputs) == directions else None)


def states_split(weights: Sequence[Weights], directions: int) -> bool:
    """Return whether the weights that multiply states can be split."""
    above = [own.W for own in weights[directions:]]
    operands = [*above, *(matrix for own in weights for matrix in (own.R, own.projection))]
    return all((columns := largest_columns(matrix)) is not None and alike(columns) for matrix in operands)


def run_of(prepared: Prepared, shape: tuple[int, ...], rows: str) -> Run:
    """Implement :meth:`Backend.run_of`."""
    prepared = prepared.for_batch(batch_of(shape, rows, None))
    run = _run_of(prepared, shape, rows)
    if not prepared.kernel.by_values:
        return run

    def run_by_values(x: Array, h0: Array | None, c0: Array | None) -> tuple[Array, Array, Array | None]:
        chosen = prepared.for_values(x, h0)
        return run(x, h0, c0) if chosen is prepared else _run_of(chosen, shape, rows)(x, h0, c0)

    return run_by_values


def _run_of(prepared: Prepared, shape: tuple[int, ...], rows: str) -> Run:
    """Return a run in one piece, because a small step takes no longer than a few function calls."""
    kernel, packed, call = prepared.kernel, prepared.packed(False), prepared.kernel.call(shape, rows, False)
    stack, batch, dtype, empty, ids = kernel.stack, call.batch, kernel.dtype, call.empty, call.ids
    y_shape, h_shape, c_shape, size, forward = call.y, call.h, call.c, call.workspace, lib.fastrnn_forward

    def run(x: Array, h0: Array | None, c0: Array | None) -> tuple[Array, Array, Array | None]:
        y, h_n, c_n = empty(y_shape, dtype), empty(h_shape, dtype), empty(c_shape, dtype) if c_shape else None
        given = (
            NULL if ids else from_buffer(x),
            int64s(x) if ids else NULL,
            NULL if h0 is None else from_buffer(h0),
            NULL if c0 is None else from_buffer(c0),
        )
        output = from_buffer(y), from_buffer(h_n), NULL if c_n is None else from_buffer(c_n), NULL
        available, workspace = thread_workspace.memory
        forward(stack, packed, batch, [given], [output], NULL, workspace if available >= size else take_workspace(size))
        return y, h_n, c_n

    return run


def bind(
    prepared: Prepared, x: Array, h0: Array | None, c0: Array | None, y: Array, h_n: Array, c_n: Array | None
) -> Callable[[], object]:
    """Implement :meth:`Backend.bind`: a call of the library with all arguments and a workspace of its own."""
    prepared = prepared.for_batch(x.shape[1])
    if prepared.kernel.by_values:  # they are not known yet
        prepared = prepared.in_float32()
    kernel, call = prepared.kernel, prepared.kernel.call(x.shape, TIME_MAJOR, False)
    given = ffi.new("fastrnn_inputs *", inputs_fields(x, call.ids, pointer(h0), pointer(c0)))
    output = ffi.new("fastrnn_outputs *", (pointer(y), pointer(h_n), pointer(c_n), NULL))
    workspace = from_buffer(aligned(max(call.workspace, 1)))
    arguments = kernel.stack, prepared.packed(False), call.batch, given, output, NULL, workspace
    run = partial(lib.fastrnn_forward, *arguments)
    run.held = x, h0, c0, y, h_n, c_n  # type: ignore[attr-defined]  # the structures hold pointers into these arrays
    return run


def inputs_fields(x: Array, ids: bool, h0: Any = NULL, c0: Any = NULL) -> tuple[Any, ...]:
    """Return the fields of a fastrnn_inputs for one call; cffi takes a sequence of fields faster than a structure."""
    return NULL if ids else from_buffer(x), int64s(x) if ids else NULL, h0, c0


def weights_fields(w: Weights) -> list[Any]:
    """Return the fields of a fastrnn_weights or fastrnn_weight_gradients for one call."""
    return [pointer(a) for a in (w.W, w.R, w.b_ih, w.b_hh, w.peephole, w.projection)]


def scales_fields(w: Weights) -> list[Any]:
    """Return the fields of a fastrnn_weights that follow :func:`weights_fields`."""
    if not isinstance(w, CompressedWeights):
        return []
    return [pointer(a) for a in (w.W_scales, w.R_scales, w.projection_scales)]
