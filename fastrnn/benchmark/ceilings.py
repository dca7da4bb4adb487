"""What the machine can do at most, measured on the spot: float32 multiply-adds, and reading from each level of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

KIB, MIB = 1 << 10, 1 << 20
FALLBACK = {"L1": 32 * KIB, "L2": MIB, "L3": 16 * MIB}


def cache_sizes() -> dict[str, int]:
    """Bytes of the first processor's data caches by level, from Linux; typical ones where it does not say."""
    sizes = dict(FALLBACK)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction" and size.endswith("K"):
            sizes[f"L{level}"] = int(size[:-1]) * KIB
    return sizes


@dataclass(frozen=True, slots=True)
class Ceilings:
    """For one number of threads: operations a second, and bytes a second read by all of them together."""

    threads: int
    fma: float
    read: dict[str, float]
    caches: dict[str, int]

    def bandwidth(self, size: float) -> float:
        """For reading this many bytes over and over, shared among the threads: that of the level which holds each part.

        A part that fits its level's cache partly gains from that; the bound here is that of the level as a whole.
        """
        part = size / self.threads
        for level in ("L1", "L2"):
            if part <= self.caches[level]:
                return self.read[level]
        return self.read["L3"] if size <= self.caches["L3"] else self.read["DRAM"]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(threads: int) -> Ceilings:
    """Takes about a second. Raises BackendUnavailable without the C backend."""
    from .. import backends

    backends.load("c")
    from ..backends._c.library import DTYPES, aligned, ffi, lib, settings

    where = (settings.isa, DTYPES["float32"], threads)
    fma = _best_rate(lambda rounds: lib.fastrnn_measure_fma(*where, rounds))
    caches = cache_sizes()
    sizes = {
        "L1": threads * caches["L1"] // 2,
        "L2": threads * caches["L2"] // 2,
        "L3": min(threads * 4 * caches["L2"], caches["L3"] // 2),  # beyond all second-level caches
        "DRAM": min(4 * caches["L3"], 512 * MIB),
    }
    read = {}
    for level, size in sizes.items():
        buffer = aligned(size)
        buffer.fill(1)  # pages that nobody wrote to are all the same one
        pointer = ffi.from_buffer(buffer)
        read[level] = _best_rate(partial(_read, lib, where, pointer, size))
    return Ceilings(threads, fma, read, caches)


def _read(lib: Any, where: tuple[int, ...], pointer: Any, size: int, rounds: int) -> float:
    return float(lib.fastrnn_measure_read(*where, rounds, pointer, size))


def _best_rate(work: Callable[[int], float], seconds: float = 0.02, repetitions: int = 8) -> float:
    """The highest rate of a work whose amount ``rounds`` scales: neighbours can only take away."""
    rounds, best = 1, 0.0
    while True:
        begin = time.perf_counter()
        amount = work(rounds)
        taken = time.perf_counter() - begin
        if taken > seconds / 4:
            break
        rounds *= 4
    rounds = max(1, round(rounds * seconds / taken))
    for _ in range(repetitions):
        begin = time.perf_counter()
        amount = work(rounds)
        best = max(best, amount / (time.perf_counter() - begin))
    return best
