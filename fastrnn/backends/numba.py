"""The Numba backend: the kernels where there is no C compiler, compiled when first used.

Serial, and without the GIL: two Python threads can run it at once. The same inputs give the same bits, however many
rows there are beside them. The arithmetic is in numba_simd, numba_product, numba_activations; the cells' equations
are in numba_cells; numba_rows knows of lengths and direction; numba_forward and numba_backward are the sweeps over
time.

The first use in each dtype compiles, on one core about 5 s for forward and 7 s for backward; from the cache on disk
they load in 0.15 s and 0.02 s (see numba_jit). The commands compile before their clocks start (``compile_for``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from ..memory import empty, zeros
from . import numba_layout as layout
from . import numba_rows
from . import numba_weights as weights
from .numba_backward import backward
from .numba_compiling import counting
from .numba_forward import forward
from .numba_jit import ISA, VECTOR_BYTES
from .numpy_linear import NumpyLinear
from .numpy_training import NumpyTraining
from .one_by_one import OneByOne
from .protocol import Array, CellSpec, Forward, Params, Plan


@dataclass(slots=True)
class Prepared:
    """Packed weights of one layer and direction; those of backward are packed when they are first needed."""

    spec: CellSpec
    params: Params
    layer: layout.Layer
    fields: Array
    forward: weights.ForwardArrays
    backward: weights.BackwardArrays | None = None


@dataclass(frozen=True, slots=True)
class Tape:
    """What forward leaves for backward."""

    prepared: Prepared
    T: int
    B: int
    inputs: tuple[Array, Array]  # x and ids, one of them empty; both for a batch of no sequences
    dense: bool  # whether x was given, and not ids
    lengths: Array
    reverse: bool
    rows_block: Array
    tape_block: Array


class NumbaBackend(OneByOne, NumpyLinear, NumpyTraining):
    """See :class:`fastrnn.backends.protocol.Backend`."""

    name = "numba"

    def prepare(self, spec: CellSpec, params: Params) -> Prepared:
        """Pack copies of the weights."""
        dtype = spec.dtype
        layer = layout.layer(spec, biased=params.b_ih is not None)
        fields = np.array(layer, np.int64)
        packed = weights.ForwardArrays(*(_block(shape, dtype) for shape in weights.forward_shapes(layer, _lanes(dtype))))
        p = params
        vectors = (_given(array, 1, dtype) for array in (p.b_ih, p.b_hh, p.peephole))
        matrices = (_given(array, 2, dtype) for array in (p.W, p.R, p.projection))
        weights.pack_forward(fields, *matrices, *vectors, *packed)
        return Prepared(spec, params, layer, fields, packed)

    def forward(
        self,
        prepared: Prepared,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: Array | None = None,
        *,
        reverse: bool = False,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> Forward:
        """Run over time; see the protocol for the shapes."""
        spec, layer, dtype = prepared.spec, prepared.layer, prepared.spec.dtype
        (T, B), H, Y = x.shape[:2], spec.hidden_size, spec.output_size
        rows = T * B if lengths is None else int(lengths.sum())
        make = empty if lengths is None else zeros
        lstm = spec.cell == "lstm"
        h0 = zeros((B, Y), dtype) if h0 is None else h0
        c0 = zeros((B, H), dtype) if lstm and c0 is None else c0
        out = Forward(make((T, B, Y), dtype), empty((B, Y), dtype))
        out.c_n = empty((B, H), dtype) if lstm else None
        out.c = make((T, B, H), dtype) if lstm and cell_states else None
        inputs = (x, None) if x.ndim == 3 else (None, x.reshape(-1))
        given = _given(inputs[0], 3, dtype), _given(inputs[1], 1, "int64")
        given_lengths = _given(lengths, 1, "int64")
        rows_block = empty(numba_rows.block_elements(T, B, rows), np.int64)
        chunk = layout.chunk_rows(B, rows)
        kept_rows = rows if keep_tape else chunk
        tape_block = empty(_tape_bytes(layer, B, kept_rows), np.uint8)
        in_order = x.ndim == 2 or (lengths is None and not reverse)
        x_block = empty(0 if in_order else chunk * spec.input_size, dtype)
        forward(
            prepared.fields, T, B, *given, _given(h0, 2, dtype), _given(c0, 2, dtype), given_lengths, reverse,
            *prepared.forward, keep_tape, kept_rows, rows_block, tape_block, x_block,
            out.y, out.h_n, _result(out.c_n, 2, dtype), _result(out.c, 3, dtype),
        )  # fmt: skip
        if keep_tape:
            out.tape = Tape(prepared, T, B, given, x.ndim == 3, given_lengths, reverse, rows_block, tape_block)
        return out

    def backward(
        self,
        tape: Tape,
        dy: Array | None,
        dh_n: Array | None,
        dc_n: Array | None,
        dc: Array | None,
        grads: Params,
        *,
        need_dx: bool = True,
    ) -> tuple[Array | None, Array, Array | None]:
        """Gradients of a scalar loss; see the protocol for the shapes. Adds into ``grads``."""
        prepared, T, B, g = tape.prepared, tape.T, tape.B, grads
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
        return dx, dh0, dc0

    def _pack_backward(self, prepared: Prepared) -> weights.BackwardArrays:
        """Pack the weights that only backward needs. Two threads may both do it; the results are the same."""
        dtype, p = prepared.spec.dtype, prepared.params
        packed = weights.BackwardArrays(
            *(_block(shape, dtype) for shape in weights.backward_shapes(prepared.layer, _lanes(dtype)))
        )
        weights.pack_backward(prepared.fields, *(_given(array, 2, dtype) for array in (p.W, p.R, p.projection)), *packed)
        prepared.backward = packed
        return packed

    def compile_for(self, dtype: str, training: bool, tell: Callable[[int], None] | None = None) -> None:
        """Compile what a run in this dtype needs, with backward for training, or load it from the cache on disk.

        ``tell`` is called with the number of functions compiled so far: 0 at the beginning, never if all are in the cache.
        Without this call they are compiled when they are first used, without a word.
        """
        with counting(tell) if tell is not None else nullcontext():
            spec = CellSpec("lstm", 1, 1, dtype)  # the compiled code serves every cell
            params = Params(**{name: np.zeros(shape, dtype) for name, shape in spec.shapes().items()})
            out = self.forward(self.prepare(spec, params), np.zeros((1, 1, 1), dtype), None, None, keep_tape=training)
            if training:
                self.backward(out.tape, None, None, None, None, params.zeros_like())

    def plan(self, spec: CellSpec, T: int, B: int, directions: int = 1) -> Plan:
        """Always serial."""
        return Plan(self.name, ISA, "none", 1)


@lru_cache(maxsize=1024)
def _tape_bytes(layer: layout.Layer, B: int, rows: int) -> int:
    return layout.block_bytes(layout.tape_shapes(layer, B, rows))


@lru_cache(maxsize=1024)
def _scratch_bytes(layer: layout.Layer, B: int, rows: int, ids: bool) -> int:
    return layout.block_bytes(layout.scratch_shapes(layer, B, rows, ids))


def _lanes(dtype: str) -> int:
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def _block(shape: tuple[int, ...], dtype: str) -> Array:
    """Zeros that begin at a whole cache line: a vector across two of them costs twice."""
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
    """An input as a read-only view, so that Numba sees one type whatever the caller's flags; None as an empty array."""
    if array is None:
        return _nothing(ndim, dtype, False)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _result(array: Array | None, ndim: int, dtype: str) -> Array:
    """An output; None as an empty array."""
    return _nothing(ndim, dtype, True) if array is None else array


BACKEND = NumbaBackend()
