"""The limits of the machine, measured: float32 multiply-adds, and reading from each level of memory."""

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
    """Return the bytes of the first processor's data caches by level, or typical sizes if Linux does not report them."""
    sizes = dict(FALLBACK)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction" and size.endswith("K"):
            sizes[f"L{level}"] = int(size[:-1]) * KIB
    return sizes


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The limits at one number of threads: operations per second, and bytes per second read by all threads together."""

    threads: int
    fma: float
    read: dict[str, float]
    caches: dict[str, int]

    def bandwidth(self, size: float) -> float:
        """Return the bandwidth for reading ``size`` bytes repeatedly, a share per thread.

        It is the bandwidth of the level that holds a thread's share. A share that fits a faster cache in part is faster.
        """
        part = size / self.threads
        for level in ("L1", "L2"):
            if part <= self.caches[level]:
                return self.read[level]
        return self.read["L3"] if size <= self.caches["L3"] else self.read["DRAM"]

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def measure(threads: int) -> Ceilings:
    """Measure the ceilings, in about a second. Raises BackendUnavailable without the C backend."""
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
        buffer.fill(1)  # pages that were never written share one physical page
        pointer = ffi.from_buffer(buffer)
        read[level] = _best_rate(partial(_read, lib, where, pointer, size))
    return Ceilings(threads, fma, read, caches)


def _read(lib: Any, where: tuple[int, ...], pointer: Any, size: int, rounds: int) -> float:
    return float(lib.fastrnn_measure_read(*where, rounds, pointer, size))


def _best_rate(work: Callable[[int], float], seconds: float = 0.02, repetitions: int = 8) -> float:
    """Return the highest rate of several runs of ``work``, because other processes can only slow a run down."""
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
