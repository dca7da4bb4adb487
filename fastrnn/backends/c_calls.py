"""What the C library needs to know before a call of some size: kept, as the same sizes come again and again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import memory
from .c_library import DTYPES, NULL, ffi, from_buffer, int64s, lib, pointer
from .protocol import CellSpec, Params

if TYPE_CHECKING:
    from .c import Prepared

Array = NDArray[Any]

MOST_KERNELS = MOST_CALLS = 256  # cells, and sizes of each, that are remembered


def _cell(spec: CellSpec) -> int:
    """The library's number for the cell's variant."""
    if spec.cell == "rnn":
        name = "RNN_TANH" if spec.nonlinearity == "tanh" else "RNN_RELU"
    elif spec.cell == "gru":
        name = "GRU_NO_RESET" if not spec.reset_gate else "GRU" if spec.reset_after else "GRU_RESET_BEFORE"
    else:
        name = "LSTM_PEEPHOLE" if spec.peephole else "LSTM"
    return int(getattr(lib, f"FASTRNN_{name}"))


class Call:
    """A batch with a number of threads, and what follows: sizes of memory, the outputs' shapes, where to get them.

    Backward of a call uses the same one: what was sized for a number of threads must run with it.
    """

    __slots__ = ("batch", "c", "cells", "dx", "empty", "h", "ids", "lengths", "tape", "workspace", "y")

    def __init__(
        self,
        kernel: Kernel,
        shape: tuple[int, ...],
        reverse: bool,
        training: bool,
        threads: int,
        directions: int,
        lengths: Array | None = None,
    ) -> None:
        spec, layer, (T, B) = kernel.spec, kernel.layer, shape[:2]
        self.ids = len(shape) == 2
        self.lengths = lengths  # the batch points into it
        self.batch = ffi.new("fastrnn_batch *", (T, B, int64s(lengths), reverse, threads, directions))
        self.y, self.h = (T, B, directions * spec.output_size), (B, spec.output_size)
        self.c = (B, spec.hidden_size) if spec.cell == "lstm" else None
        self.cells, self.dx = (T, B, directions * spec.hidden_size), (T, B, spec.input_size)
        largest = T * B * max(directions * spec.hidden_size, spec.input_size) * kernel.dtype.itemsize
        # What memory.empty does for small arrays, without asking each time.
        self.empty: Any = np.empty if largest < memory.SMALLEST_POOLED else memory.empty
        self.workspace = lib.fastrnn_forward_workspace_size(layer, self.batch, self.ids, training)
        self.tape = lib.fastrnn_tape_size(layer, self.batch, self.ids) if training else 0


class Kernel:
    """The library's view of a cell on an instruction set, and the calls of it so far."""

    __slots__ = ("calls", "dtype", "layer", "spec")

    def __init__(self, spec: CellSpec, isa: int) -> None:
        self.spec = spec
        self.dtype = np.dtype(spec.dtype)
        sizes = (spec.input_size, spec.hidden_size, spec.proj_size)
        self.layer = ffi.new("fastrnn_layer *", (isa, DTYPES[spec.dtype], _cell(spec), *sizes))
        self.calls: dict[Any, Call] = {}

    def call(self, x: Array, lengths: Array | None, reverse: bool, training: bool, directions: int = 1) -> Call:
        """For inputs like these, with the number of threads now; ``directions`` in one call of the library."""
        key = (x.shape, reverse, training, lib.fastrnn_get_num_threads(), directions)
        if lengths is not None:
            return Call(self, *key, lengths)
        return self.calls.get(key) or remember(self.calls, key, Call(self, *key))


def remember(calls: dict[Any, Any], key: Any, call: Any) -> Any:
    """``call``, kept for the next time."""
    if len(calls) >= MOST_CALLS:
        calls.clear()
    calls[key] = call
    return call


def input_fields(x: Array, h0: Any = NULL, c0: Any = NULL) -> tuple[Any, ...]:
    """Of a fastrnn_input, for the length of one call: lists of fields are cheaper there than structures."""
    dense, ids = (from_buffer(x), NULL) if x.ndim == 3 else (NULL, int64s(x))
    return dense, ids, h0, c0


def params_fields(p: Params) -> list[Any]:
    """Of a fastrnn_params or fastrnn_grads, likewise."""
    return [pointer(a) for a in (p.W, p.R, p.b_ih, p.b_hh, p.peephole, p.projection)]


def stack_fields(stack: Sequence[Prepared]) -> tuple[Any, Any, list[Any]]:
    """A stack as fastrnn_layer[] and its packed weights, with what must stay alive while these are in use."""
    packed = [prepared.packed(False) for prepared in stack]
    layers = ffi.new("fastrnn_layer[]", [prepared.kernel.layer[0] for prepared in stack])
    pointers = ffi.new("void *[]", packed)
    return layers, pointers, [packed, layers, pointers]


@lru_cache(MOST_KERNELS)
def kernel_of(spec: CellSpec, isa: int) -> Kernel:
    """The one for this cell, whatever its weights."""
    return Kernel(spec, isa)


@lru_cache(MOST_CALLS)
def linear_call(sizes: tuple[int, int, int, int], threads: int, N: int, backward: bool) -> tuple[Any, int]:
    """A linear layer (isa, dtype, I, O) for so many threads, and the workspace that N rows take."""
    linear = ffi.new("fastrnn_linear *", (*sizes, threads))
    return linear, lib.fastrnn_linear_workspace_size(linear, N, backward)
