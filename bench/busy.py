"""``python -m bench.busy``: measure how much other processes slow down a call, by its split over two threads.

With the split over hidden units there is a barrier in every time step, so a thread that loses its core delays the other one
each time. With the split over the batch there is one barrier, at the end. Ratios are relative to a quiet machine. On two
cores, a call that gets its fair share takes 1.5 times as long next to one busy process, and twice as long next to two.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

import fastrnn
from fastrnn.commands.arguments import integer, real
from fastrnn.commands.guard import guarded

CASES = (
    ("LSTM", 64, 32),
    ("LSTM", 64, 128),
    ("GRU", 96, 32),
    ("LSTM", 128, 8),
    ("LSTM", 128, 32),
    ("LSTM", 512, 1),
    ("LSTM", 512, 32),
)
COMPETITORS = (0, 1, 2)
STEPS = 100


@contextmanager
def competitors(n: int) -> Iterator[None]:
    """Run ``n`` processes that never sleep, for as long as the block runs."""
    # In a session of their own, because Ctrl-C would make each of them print a traceback.
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) for _ in range(n)]
    time.sleep(0.3 if n else 0)
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def calls(cell: str, H: int, B: int) -> tuple[str, dict[str, Callable[[], object]]]:
    """Return the split of the layer over two threads, and its two calls by name."""
    layer = getattr(fastrnn, cell)(H, H, rng=0)
    x = np.random.default_rng(0).standard_normal((STEPS, B, H), dtype=np.float32)

    def training() -> None:
        (y, _), backward = layer.forward(x)
        backward(y)

    return layer.plan(STEPS, B)[0].split, {"forward": lambda: layer(x), "training": training}


def median(call: Callable[[], object], seconds: float) -> float:
    """Return the median time of the calls that fit into ``seconds``, at least nine."""
    times: list[float] = []
    call()
    end = time.perf_counter() + seconds
    while len(times) < 9 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.busy", description=__doc__)
    parser.add_argument("--seconds", type=real(0), default=1.0, help="time for each call and each number of processes")
    parser.add_argument("--threads", type=integer(1, 256), default=2)
    arguments = parser.parse_args()
    fastrnn.set_num_threads(arguments.threads)
    print("| case | split | quiet | next to 1 process | next to 2 |\n| --- | --- | --- | --- | --- |")
    for cell, H, B in CASES:
        split, both = calls(cell, H, B)
        for name, call in both.items():
            times = []
            for n in COMPETITORS:
                with competitors(n):
                    times.append(median(call, arguments.seconds))
            losses = " | ".join(f"{later / times[0]:.2f}x" for later in times[1:])
            print(f"| {cell} H {H}, B {B}, {name} | {split} | {times[0] * 1e3:.2f} ms | {losses} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
