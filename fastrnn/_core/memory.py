"""Arrays whose memory is used again.

A training step makes the same large arrays over and over. Fresh memory from the operating system costs a page fault for
every 4 KiB, and recurrent networks on a CPU can spend a tenth of their time in them. Arrays from here give their memory
back to a pool when the last reference to them is gone, and the next array of that size takes it from there.

Blocks are NumPy's own: from 4 MiB on it asks the system for huge pages (a character model with LSTM 2 x 512 has 340 of
its 400 MB in them), so nothing here does.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64  # a cache line, and the widest vector
# Below this malloc serves from its own free lists without new pages.
SMALLEST_POOLED = 32 * 1024
# Free memory kept beyond what was in use at the peak.
SPARE_BYTES = 64 * 1024 * 1024


class Pool:
    """Blocks of memory by size class, safe to use from several threads.

    Memory kept is bounded by the largest amount ever in use at one time plus ``SPARE_BYTES``, so changing shapes do not
    make it grow without end.
    """

    def __init__(self) -> None:
        # Reentrant: a block can be given back by the garbage collector while this thread holds the lock.
        self.lock = threading.RLock()
        self._free: dict[int, list[NDArray[np.uint8]]] = {}
        self.free_bytes = 0
        self.used_bytes = 0
        self.peak_bytes = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        """A block of at least ``size`` bytes; what is in it is undefined. Raises MemoryError."""
        size = _size_class(size)
        with self.lock:
            blocks = self._free.get(size)
            if blocks:
                block = blocks.pop()
                self.free_bytes -= size
            else:
                block = np.empty(size, np.uint8)
            # Only now: where memory has run out, nothing is in use that give_back would count off again.
            self.used_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)
        return block

    def give_back(self, block: NDArray[np.uint8]) -> None:
        """Return a block that nothing refers to any more."""
        with self.lock:
            self.used_bytes -= block.nbytes
            self._free.setdefault(block.nbytes, []).append(block)
            self.free_bytes += block.nbytes
            if self.free_bytes > self.peak_bytes + SPARE_BYTES:
                self._free.clear()
                self.free_bytes = 0


def _size_class(size: int) -> int:
    """Sizes are rounded up to 1/8 of their power of two, so that nearly equal arrays share blocks (12 % waste at most)."""
    step = max(4096, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


_pool = Pool()


def pool() -> Pool:
    """The process's pool, for looking at its counters."""
    return _pool


# No fork while another thread holds the lock: in the child nobody would ever release it. The forking thread has it instead,
# and as the lock is reentrant, arrays that go away while Python tidies up in the child can be given back.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pool.lock.acquire, after_in_parent=_pool.lock.release, after_in_child=_pool.lock.release)


class _Lease:
    """Owns a block on behalf of one array and all its views; the last one to go gives the block back."""

    __slots__ = ("__array_interface__", "_block")

    def __init__(self, block: NDArray[np.uint8], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._block = block
        address = block.__array_interface__["data"][0]
        address += -address % ALIGNMENT
        self.__array_interface__ = {"shape": shape, "typestr": dtype.str, "data": (address, False), "version": 3}

    def __del__(self) -> None:
        if _pool is not None:  # at the interpreter's end, names may be gone
            _pool.give_back(self._block)


def empty(shape: tuple[int, ...] | int, dtype: Any = np.float32) -> NDArray[Any]:
    """Like ``numpy.empty``; when the array is large, its memory is from the pool and aligned to 64 bytes."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize * (shape if isinstance(shape, int) else math.prod(shape))
    if size < SMALLEST_POOLED:
        return np.empty(shape, dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return np.asarray(_Lease(_pool.take(size + ALIGNMENT), shape, dtype))


def zeros(shape: tuple[int, ...] | int, dtype: Any = np.float32) -> NDArray[Any]:
    """Like ``numpy.zeros``, with memory from the pool when the array is large."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
