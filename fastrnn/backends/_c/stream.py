"""A stack laid out once in the C library, to be fed step by step."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..base import Stream
from .library import NULL, aligned, from_buffer, lib, pointer
from .stack import Prepared

Array = NDArray[Any]


class CStream(Stream):
    """One sequence through the layers."""

    __slots__ = ("_memory", "_packed", "_stack")

    def __init__(self, prepared: Prepared, ids: bool, h0: Array | None, c0: Array | None) -> None:
        self._stack, self._packed = prepared.kernel.stack, prepared.packed(False)  # the memory points into the latter
        self._memory = from_buffer(aligned(lib.fastrnn_stream_size(self._stack, ids)))
        lib.fastrnn_stream_begin(self._stack, self._packed, ids, pointer(h0), pointer(c0), self._memory)

    def step(self, x: Array, y: Array) -> None:
        """Go on by ``x [I]``, C-contiguous; overwrites ``y [Y]``."""
        lib.fastrnn_stream_step(self._stack, self._memory, from_buffer(x), -1, from_buffer(y))

    def step_id(self, token: int, y: Array) -> None:
        """Go on by a token id in -1..I-1; overwrites ``y [Y]``."""
        lib.fastrnn_stream_step(self._stack, self._memory, NULL, token, from_buffer(y))

    def states(self, h: Array, c: Array | None) -> None:
        """Overwrite ``h [L,1,Y]`` and ``c [L,1,H]`` with the states after the last step; there must have been one."""
        lib.fastrnn_stream_states(self._stack, self._memory, from_buffer(h), pointer(c))
