"""Layers on top of each other as one call of the C library, in inference: a wavefront over time where that is faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .c_calls import input_fields, remember, stack_fields
from .c_library import NULL, ffi, from_buffer, int64s, lib, pointer, take_workspace
from .protocol import Forward

if TYPE_CHECKING:
    from .c import Prepared

Array = NDArray[Any]


class StackCall:
    """A batch with a number of threads, and the workspace that it takes."""

    __slots__ = ("batch", "lengths", "workspace")

    def __init__(self, stack: PreparedStack, shape: tuple[int, ...], threads: int, lengths: Array | None = None) -> None:
        self.lengths = lengths  # the batch points into it
        self.batch = ffi.new("fastrnn_batch *", (*shape[:2], int64s(lengths), False, threads, 1))
        self.workspace = lib.fastrnn_forward_stack_workspace_size(stack.pointer, self.batch, len(shape) == 2)


class PreparedStack:
    """The layers as the library takes them."""

    __slots__ = ("_alive", "calls", "count", "kernel", "pointer")

    def __init__(self, layers: Sequence[Prepared]) -> None:
        self.kernel, self.count = layers[0].kernel, len(layers)
        fields, packed, self._alive = stack_fields(layers)
        self.pointer = ffi.new("fastrnn_stack *", (self.count, fields, packed))
        self.calls: dict[Any, StackCall] = {}

    def call(self, shape: tuple[int, ...], lengths: Array | None) -> StackCall:
        """For inputs of this shape, with the number of threads now."""
        key = shape, lib.fastrnn_get_num_threads()
        if lengths is not None:
            return StackCall(self, *key, lengths)
        return self.calls.get(key) or remember(self.calls, key, StackCall(self, *key))


def forward_stack(
    stack: PreparedStack, x: Array, h0: Array | None, c0: Array | None, lengths: Array | None = None
) -> Forward:
    """y of the last layer, h_n and c_n of all."""
    call, sizes = stack.call(x.shape, lengths), stack.kernel.call(x, lengths, False, False)
    empty, dtype = sizes.empty, stack.kernel.dtype
    y, h_n = empty(sizes.y, dtype), empty((stack.count, *sizes.h), dtype)
    c_n = empty((stack.count, *sizes.c), dtype) if sizes.c else None
    lib.fastrnn_forward_stack(
        stack.pointer,
        call.batch,
        [input_fields(x, pointer(h0), pointer(c0))],
        [(from_buffer(y), from_buffer(h_n), pointer(c_n), NULL)],
        take_workspace(call.workspace),
    )
    return Forward(y, h_n, c_n)


def layers_at_once(stack: PreparedStack, T: int, B: int) -> int:
    """How many of the layers would run side by side."""
    return int(lib.fastrnn_plan_stack(stack.pointer, [{"T": T, "B": B, "directions": 1}]))
