"""``python -m bench.precision``: time each precision next to float32, and its errors, as tables for docs/precision.md."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import fastrnn
from fastrnn.benchmark.measure import Clock, Effort, alternate
from fastrnn.commands.arguments import integer
from fastrnn.commands.guard import guarded

from .tables import Row, add_effort, machine_line, show

PRECISIONS = ("highest", "high", "medium")
T = 100


def training_step(layer: Any, x: np.ndarray) -> None:
    _, backward = layer.forward(x)
    backward(x)


def calls(layer: Any, x: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return what is timed: a step of a stepper, inference, and training with dy = x."""
    of_a_batch = {"forward": partial(layer, x), "training": partial(training_step, layer, x)}
    return of_a_batch if x.shape[1] > 1 else {"stepper": partial(layer.stepper(), x[0, 0])} | of_a_batch


def layers_of(cell: str, H: int) -> list[Any]:
    """Return layers with the same weights, one of each precision."""
    return [getattr(fastrnn, cell)(H, H, rng=0, precision=precision) for precision in PRECISIONS]


def times(cells: list[str], sizes: list[int], batches: list[int], effort: Effort, clock: Clock) -> Iterator[Row]:
    """Yield the head of the table, then a row for each cell, size, batch and call."""
    yield "layer, H", "B", "precision", "call", "float32 us", "us", "times as fast"
    for cell in cells:
        for H in sizes:
            for B in batches:
                x = np.random.default_rng(0).standard_normal((T, B, H), dtype=np.float32)
                full, *others = layers_of(cell, H)
                for precision, layer in zip(PRECISIONS[1:], others, strict=True):
                    case = f"{cell}, {H}", str(B), precision
                    (plan,) = layer.plan(T, B)
                    if plan.reason:
                        yield *case, plan.reason, "", "", ""
                        continue
                    sides = calls(full, x), calls(layer, x)
                    for name in sides[0]:
                        before, after = (t.median for t in alternate([side[name] for side in sides], effort, clock))
                        yield *case, name, f"{before * 1e6:.0f}", f"{after * 1e6:.0f}", f"{before / after:.2f}"


def relative(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


def errors(cells: list[str], sizes: list[int], B: int) -> Iterator[Row]:
    """Yield the head of the table, then a row for each cell and size: errors against float64."""
    yield "layer, H", "precision", "y: max", "rms", "relative", "dx, relative", "dR, relative"
    for cell in cells:
        for H in sizes:
            x = np.random.default_rng(0).standard_normal((T, B, H), dtype=np.float32)
            layers = layers_of(cell, H)
            exact = getattr(fastrnn, cell)(H, H, dtype="float64")
            exact.load_state_dict({name: value.astype(np.float64) for name, value in layers[0].state_dict().items()})
            wanted = gradients(exact, x.astype(np.float64))
            for precision, layer in zip(PRECISIONS, layers, strict=True):
                if layer.plan(T, B)[0].reason:
                    continue
                found = [array.astype(np.float64) for array in gradients(layer, x)]
                difference = np.abs(found[0] - wanted[0])
                numbers = difference.max(), np.sqrt(np.mean(difference**2)), *map(relative, found, wanted)
                yield f"{cell}, {H}", precision, *(f"{number:.1e}" for number in numbers)


def gradients(layer: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y, dx and dR of a loss whose dy is noise."""
    (y, _), backward = layer.forward(x)
    dx, _ = backward(np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype))
    return y, dx, layer.weight_hh_l0.grad


def main() -> None:
    """Print the errors, then a table of times for each number of threads, row by row."""
    parser = argparse.ArgumentParser(prog="python -m bench.precision", description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["LSTM", "GRU"], choices=["RNN", "GRU", "LSTM"])
    parser.add_argument(
        "--sizes", nargs="+", type=integer(1), default=[128, 512, 1024], help="I = H (default: 128 512 1024)"
    )
    parser.add_argument("--batches", nargs="+", type=integer(1), default=[1, 32, 128])
    add_effort(parser)
    parser.add_argument("--cpu", action="store_true", help="measure CPU time, for one thread on a busy machine")
    arguments = parser.parse_args()
    print(machine_line(), end="\n\n")
    show(errors(arguments.cells, arguments.sizes, 16))
    clock = Clock(now=time.process_time) if arguments.cpu else Clock()
    for threads in arguments.threads:
        fastrnn.set_num_threads(threads)
        clock_name = "CPU" if arguments.cpu else "wall"
        print(f"\nT = {T}, threads: {threads}, {clock_name} time, load {os.getloadavg()[0]:.1f}\n")
        show(times(arguments.cells, arguments.sizes, arguments.batches, Effort(arguments.seconds), clock))


if __name__ == "__main__":
    raise SystemExit(guarded(main))
