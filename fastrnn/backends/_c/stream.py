"""A stack that the C library runs step by step, in memory laid out once."""

from __future__ import annotations

from ..._core.arrays import Array
from ..base import Stream
from .library import NULL, aligned, from_buffer, lib, pointer
from .stack import Prepared


class CStream(Stream):
    """Stream of one sequence through a stack; see :class:`fastrnn.backends.base.Stream`."""

    __slots__ = ("_memory", "_packed", "_stack")

    def __init__(self, prepared: Prepared, ids: bool, h0: Array | None, c0: Array | None) -> None:
        prepared = prepared.for_batch(1)
        self._stack, self._packed = prepared.kernel.stack, prepared.packed(False)  # _memory points into _packed
        self._memory = from_buffer(aligned(lib.fastrnn_stream_size(self._stack, ids)))
        lib.fastrnn_stream_begin(self._stack, self._packed, ids, pointer(h0), pointer(c0), self._memory)

    def step(self, x: Array, y: Array) -> None:
        """Run one step on ``x [I]``, C-contiguous; overwrites ``y [Y]``."""
        lib.fastrnn_stream_step(self._stack, self._memory, from_buffer(x), -1, from_buffer(y))

    def step_id(self, token: int, y: Array) -> None:
        """Run one step on a token id in -1..I-1; overwrites ``y [Y]``."""
        lib.fastrnn_stream_step(self._stack, self._memory, NULL, token, from_buffer(y))

    def states(self, h: Array, c: Array | None) -> None:
        """Overwrite ``h [L,1,Y]`` and ``c [L,1,H]`` with the states after the last step; at least one step must have run."""
        lib.fastrnn_stream_states(self._stack, self._memory, from_buffer(h), pointer(c))
