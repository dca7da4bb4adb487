"""Memory pool for large arrays.

Training steps allocate the same large arrays over and over. New memory from the operating system costs a page fault for
every 4 KiB, and recurrent networks on a CPU can spend a tenth of their time on these. Arrays from this module return their
memory to a pool when their last reference is gone, and the next array of that size reuses it.

NumPy allocates the blocks. From 4 MiB on it requests huge pages itself (340 of the 400 MB of a character model with
LSTM 2 x 512), so this module does not.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .drawing_limit import check_trial

ALIGNMENT = 64  # a cache line, and the widest vector
# malloc serves smaller arrays from its own free lists, without new pages.
SMALLEST_POOLED = 32 * 1024
# The pool's free memory may exceed the peak use by this much.
SPARE_BYTES = 64 * 1024 * 1024


class Pool:
    """Thread-safe pool of memory blocks by size class.

    Its free memory is at most the peak use plus ``SPARE_BYTES``, so changing shapes do not make it grow without end.
    """

    def __init__(self) -> None:
        # Reentrant, because the garbage collector can return a block while this thread holds the lock.
        self.lock = threading.RLock()
        self._free: dict[int, list[NDArray[np.uint8]]] = {}
        self.free_bytes = 0
        self.used_bytes = 0
        self.peak_bytes = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return a block of at least ``size`` bytes with undefined content. Raises MemoryError."""
        size = _size_class(size)
        with self.lock:
            blocks = self._free.get(size)
            if blocks:
                block = blocks.pop()
                self.free_bytes -= size
            else:
                check_trial([(size,)])
                block = np.empty(size, np.uint8)
            # Counted only after the allocation, because a failed one is never given back.
            self.used_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)
        return block

    def give_back(self, block: NDArray[np.uint8]) -> None:
        """Return a block without references to the pool."""
        with self.lock:
            self.used_bytes -= block.nbytes
            self._free.setdefault(block.nbytes, []).append(block)
            self.free_bytes += block.nbytes
            if self.free_bytes > self.peak_bytes + SPARE_BYTES:
                self._free.clear()
                self.free_bytes = 0


def _size_class(size: int) -> int:
    """Round up to a multiple of 1/8 of the power of two, so nearly equal arrays share blocks (at most 12 % is wasted)."""
    step = max(4096, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


_pool = Pool()


def pool() -> Pool:
    """Return the process's pool, whose counters callers may read."""
    return _pool


# If another thread held the lock during a fork, the child could never release it, so the forking thread takes it. The lock
# is reentrant, so blocks that become free in the child before the release can still be given back.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pool.lock.acquire, after_in_parent=_pool.lock.release, after_in_child=_pool.lock.release)


class _Lease:
    """Owner of a block for an array and its views; its deletion, with the last of them, gives the block back."""

    __slots__ = ("__array_interface__", "_block")

    def __init__(self, block: NDArray[np.uint8], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._block = block
        address = block.__array_interface__["data"][0]
        address += -address % ALIGNMENT
        self.__array_interface__ = {"shape": shape, "typestr": dtype.str, "data": (address, False), "version": 3}

    def __del__(self) -> None:
        if _pool is not None:  # globals may be None at interpreter shutdown
            _pool.give_back(self._block)


def empty(shape: tuple[int, ...] | int, dtype: Any = np.float32) -> NDArray[Any]:
    """Allocate like ``numpy.empty``; a large array's memory comes from the pool, aligned to 64 bytes."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize * (shape if isinstance(shape, int) else math.prod(shape))
    if size < SMALLEST_POOLED:
        return np.empty(shape, dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return np.asarray(_Lease(_pool.take(size + ALIGNMENT), shape, dtype))


def zeros(shape: tuple[int, ...] | int, dtype: Any = np.float32) -> NDArray[Any]:
    """Allocate like ``numpy.zeros``; a large array's memory comes from the pool."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
