"""Recurrent layers laid out once in the C library, to be fed step by step: see :mod:`fastrnn.layers.stepper`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .c_calls import stack_fields
from .c_library import NULL, aligned, ffi, from_buffer, lib, pointer

if TYPE_CHECKING:
    from .c import Prepared

Array = NDArray[Any]


class Stream:
    """One sequence through the layers."""

    __slots__ = ("_alive", "_memory", "_stream")

    def __init__(self, stack: Sequence[Prepared], ids: bool, h0: Array | None, c0: Array | None) -> None:
        layers, packed, alive = stack_fields(stack)
        self._alive = alive
        self._stream = ffi.new("fastrnn_stream *", (len(stack), ids, layers, packed))
        self._memory = from_buffer(aligned(lib.fastrnn_stream_size(self._stream)))
        lib.fastrnn_stream_begin(self._stream, pointer(h0), pointer(c0), self._memory)

    def step(self, x: Array, y: Array) -> None:
        """On by ``x [I]``, C-contiguous; overwrites ``y [Y]``."""
        lib.fastrnn_stream_step(self._stream, self._memory, from_buffer(x), -1, from_buffer(y))

    def step_id(self, token: int, y: Array) -> None:
        """On by a token id in -1..I-1."""
        lib.fastrnn_stream_step(self._stream, self._memory, NULL, token, from_buffer(y))

    def states(self, h: Array, c: Array | None) -> None:
        """Overwrite ``h [L,1,Y]`` and ``c [L,1,H]`` with the states after the last step; there must have been one."""
        lib.fastrnn_stream_states(self._stream, self._memory, from_buffer(h), pointer(c))
