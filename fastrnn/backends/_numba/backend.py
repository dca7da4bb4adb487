"""The Numba backend, for machines without a C compiler; it compiles on first use.

It is serial and releases the GIL, so two Python threads can run it at once. A sequence gives the same bits whatever the
size of its batch. ``simd``, ``product`` and ``activations`` hold the arithmetic, ``cells`` the equations of the cells,
``rows`` the handling of lengths and direction, and ``forward`` and ``backward`` the loops over time.

The first use in each dtype compiles for about 5 s (forward) and 7 s (backward) on one core. Code in the cache on disk loads
in 0.15 s and 0.02 s (see ``jit``). The commands compile before they start to measure time (``compile_for``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from ..._core.arrays import Array
from ..._core.memory import empty, zeros
from ..base import Backend
from ..precision import highest_only
from ..structs import CellSpec, Gradients, Inputs, OutputGradients, Outputs, Plan, StackSpec, Weights
from . import layout as layout
from . import rows as numba_rows
from . import weights as packing
from .backward import backward
from .compiling import counting
from .forward import forward
from .jit import ISA, VECTOR_BYTES


@dataclass(slots=True)
class Prepared:
    """Packed weights of one part; the weights for backward are packed on first use."""

    spec: CellSpec
    weights: Weights
    layer: layout.Layer
    fields: Array
    forward: packing.ForwardArrays
    backward: packing.BackwardArrays | None = None


@dataclass(frozen=True, slots=True)
class Tape:
    """Data of one forward pass that its backward reads."""

    prepared: Prepared
    T: int
    B: int
    inputs: tuple[Array, Array]  # x and ids; one of them is empty, or both if B is 0
    dense: bool  # True for x, False for ids
    lengths: Array
    reverse: bool
    rows_block: Array
    tape_block: Array


class NumbaBackend(Backend):
    """The Numba backend; see :class:`fastrnn.backends.base.Backend`."""

    name = "numba"

    def prepare_part(self, spec: CellSpec, weights: Weights) -> Prepared:
        """Pack the weights for forward into new arrays."""
        dtype = spec.dtype
        layer = layout.layer(spec, biased=weights.b_ih is not None)
        fields = np.array(layer, np.int64)
        packed = packing.ForwardArrays(*(_block(shape, dtype) for shape in packing.forward_shapes(layer, _lanes(dtype))))
        w = weights
        vectors = (_given(array, 1, dtype) for array in (w.b_ih, w.b_hh, w.peephole))
        matrices = (_given(array, 2, dtype) for array in (w.W, w.R, w.projection))
        packing.pack_forward(fields, *matrices, *vectors, *packed)
        return Prepared(spec, weights, layer, fields, packed)

    def forward_part(  # type: ignore[override]
        self, prepared: Prepared, inputs: Inputs, *, reverse: bool = False, training: bool = False, cell_states: bool = False
    ) -> Outputs:
        """Run one part over time; see the base class for the shapes."""
        x, h0, c0, lengths, _ = inputs
        spec, layer, dtype = prepared.spec, prepared.layer, prepared.spec.dtype
        (T, B), H, Y = x.shape[:2], spec.hidden_size, spec.output_size
        rows = T * B if lengths is None else int(lengths.sum())
        make = empty if lengths is None else zeros
        lstm = spec.cell == "lstm"
        h0 = zeros((B, Y), dtype) if h0 is None else h0
        c0 = zeros((B, H), dtype) if lstm and c0 is None else c0
        out = Outputs(make((T, B, Y), dtype), empty((B, Y), dtype))
        out.c_n = empty((B, H), dtype) if lstm else None
        out.c = make((T, B, H), dtype) if lstm and cell_states else None
        dense, ids = (x, None) if x.ndim == 3 else (None, x.reshape(-1))
        given = _given(dense, 3, dtype), _given(ids, 1, "int64")
        given_lengths = _given(lengths, 1, "int64")
        rows_block = empty(numba_rows.block_elements(T, B, rows), np.int64)
        chunk = layout.chunk_rows(B, rows)
        tape_rows = rows if training else chunk
        tape_block = empty(_tape_bytes(layer, B, tape_rows), np.uint8)
        in_order = x.ndim == 2 or (lengths is None and not reverse)
        x_block = empty(0 if in_order else chunk * spec.input_size, dtype)
        forward(
            prepared.fields, T, B, *given, _given(h0, 2, dtype), _given(c0, 2, dtype), given_lengths, reverse,
            *prepared.forward, training, tape_rows, rows_block, tape_block, x_block,
            out.y, out.h_n, _result(out.c_n, 2, dtype), _result(out.c, 3, dtype),
        )  # fmt: skip
        if training:
            out.tape = Tape(prepared, T, B, given, x.ndim == 3, given_lengths, reverse, rows_block, tape_block)
        return out

    def backward_part(  # type: ignore[override]
        self, tape: Tape, dout: OutputGradients, gradients: Weights, *, need_dx: bool = True
    ) -> Gradients:
        """Return the inputs' gradients and ADD the weights' into ``gradients``; see the base class for the shapes."""
        dy, dh_n, dc_n, dc = dout
        prepared, T, B, g = tape.prepared, tape.T, tape.B, gradients
        spec, layer, dtype = prepared.spec, prepared.layer, prepared.spec.dtype
        x, ids = tape.inputs
        packed = prepared.backward or self._pack_backward(prepared)
        make = zeros if tape.lengths.size else empty
        dx = make((T, B, spec.input_size), dtype) if need_dx and tape.dense else None
        dh0 = empty((B, spec.output_size), dtype)
        dc0 = empty((B, spec.hidden_size), dtype) if spec.cell == "lstm" else None
        rows = tape.rows_block.size - numba_rows.block_elements(T, B, 0)
        scratch = empty(_scratch_bytes(layer, B, rows, ids.size > 0), np.uint8)
        slots = empty(spec.input_size + min(spec.input_size, rows) if ids.size else 0, np.int64)
        backward(
            prepared.fields, T, B, x, ids, tape.lengths, tape.reverse, tape.rows_block, tape.tape_block,
            *packed, prepared.forward.bias, prepared.forward.peephole, scratch, slots,
            _given(dy, 3, dtype), _given(dh_n, 2, dtype), _given(dc_n, 2, dtype), _given(dc, 3, dtype),
            _result(dx, 3, dtype), dh0, _result(dc0, 2, dtype), g.W, g.R, _result(g.b_ih, 1, dtype),
            _result(g.b_hh, 1, dtype), _result(g.peephole, 1, dtype), _result(g.projection, 2, dtype),
        )  # fmt: skip
        return Gradients(dx, dh0, dc0)

    def _pack_backward(self, prepared: Prepared) -> packing.BackwardArrays:
        """Pack the weights that only backward needs. Two threads may both do it; their results are the same."""
        dtype, w = prepared.spec.dtype, prepared.weights
        packed = packing.BackwardArrays(
            *(_block(shape, dtype) for shape in packing.backward_shapes(prepared.layer, _lanes(dtype)))
        )
        packing.pack_backward(prepared.fields, *(_given(array, 2, dtype) for array in (w.W, w.R, w.projection)), *packed)
        prepared.backward = packed
        return packed

    def compile_for(self, dtype: str, training: bool, report: Callable[[int], None] | None = None) -> None:
        """Compile the code for runs in this dtype, with backward for training, or load it from the cache on disk.

        ``report`` is called with the number of functions compiled so far, first 0. It is never called if all of them are in
        the cache. Without ``compile_for`` the functions are compiled silently on first use.
        """
        with counting(report) if report is not None else nullcontext():
            spec = CellSpec("lstm", 1, 1, dtype)  # the compiled code is the same for every cell
            own = Weights(**{name: np.zeros(shape, dtype) for name, shape in spec.shapes().items()})
            out = self.forward_part(self.prepare_part(spec, own), Inputs(np.zeros((1, 1, 1), dtype)), training=training)
            if training:
                self.backward_part(out.tape, OutputGradients(), own.zeros_like())

    def plan(self, spec: StackSpec, T: int, B: int) -> list[Plan]:
        """Return one serial plan for each part."""
        return [Plan(self.name, ISA, "none", 1, 1, *highest_only(spec, self.name))] * spec.parts


@lru_cache(maxsize=1024)
def _tape_bytes(layer: layout.Layer, B: int, rows: int) -> int:
    return layout.block_bytes(layout.tape_shapes(layer, B, rows))


@lru_cache(maxsize=1024)
def _scratch_bytes(layer: layout.Layer, B: int, rows: int, ids: bool) -> int:
    return layout.block_bytes(layout.scratch_shapes(layer, B, rows, ids))


def _lanes(dtype: str) -> int:
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def _block(shape: tuple[int, ...], dtype: str) -> Array:
    """Allocate zeros that begin on a cache line, because loading a vector across two lines takes twice as long."""
    if 0 in shape:
        return _nothing(len(shape), dtype, True)
    size = math.prod(shape)
    item = np.dtype(dtype).itemsize
    block = zeros(size + 64 // item, dtype)
    skip = -block.__array_interface__["data"][0] % 64 // item  # block.ctypes.data takes 1.5 us
    return block[skip : skip + size].reshape(shape)


@cache
def _nothing(ndim: int, dtype: str, writeable: bool) -> Array:
    array = np.empty((0,) * ndim, dtype)
    array.flags.writeable = writeable
    return array


def _given(array: Array | None, ndim: int, dtype: str) -> Array:
    """Return an input as a read-only view, so Numba sees one type whatever the caller's flags; None as an empty array."""
    if array is None:
        return _nothing(ndim, dtype, False)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _result(array: Array | None, ndim: int, dtype: str) -> Array:
    """Return an output array, or an empty array for None."""
    return _nothing(ndim, dtype, True) if array is None else array


BACKEND = NumbaBackend()
