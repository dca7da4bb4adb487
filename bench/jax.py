"""``python -m bench.jax``: measure fastrnn.jax inside compiled programs next to ``lax.scan``, as tables for docs/jax.md.

training   y and the gradients of x and all parameters
inference  y
step       y of one time step
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import product
from typing import Any
from unittest import mock

import jax
import numpy as np

import fastrnn
import fastrnn.jax
from fastrnn.benchmark.cases import Case
from fastrnn.benchmark.measure import Clock, Effort, alternate
from fastrnn.benchmark.peers.jax_peer import PEER
from fastrnn.benchmark.problem import Problem
from fastrnn.commands.guard import guarded

from .tables import Row, chosen, machine_line, question_parser, run_program, show

CELLS = ("LSTM", "GRU")
SIZES = tuple(product((128, 512), (8, 32)))  # H, B
SMALL = ((64, 1), (128, 8), (512, 1))
QUESTIONS = {"training": (100, SIZES), "inference": (100, SIZES), "step": (1, SMALL)}  # T, and H and B


def ours(problem: Problem, training: bool, callback: bool) -> Callable[[], Any]:
    """Return a compiled call of fastrnn.jax, directly or through a callback."""
    function = getattr(fastrnn.jax, problem.case.cell.lower())
    states = [None] * (2 if problem.case.cell == "LSTM" else 1)

    def layer(x: Any, *parameters: Any) -> Any:
        return function(x, *states, *parameters)[0]

    def step(x: Any, parameters: Any, dy: Any) -> Any:
        if not training:
            return layer(x, *parameters)
        y, backward = jax.vjp(layer, x, *parameters)
        return y, backward(dy)

    weights = problem.W, problem.R, problem.b_ih, problem.b_hh
    arguments = jax.device_put((problem.x, weights, problem.dy))
    with mock.patch.object(fastrnn.jax._ffi, "usable", return_value=False) if callback else nullcontext():
        compiled = jax.jit(step).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def rival(problem: Problem, training: bool) -> Callable[[], Any]:
    """Return a compiled ``lax.scan`` after the input product of all steps."""
    return (PEER.training if training else PEER.forward)(problem).run


def compare(problem: Problem, training: bool, threads: int) -> list[Callable[[], Any]]:
    """Return lax.scan, fastrnn.jax and, on several threads, its callback; their outputs are the same.

    On one thread a callback may wait forever for the thread that waits for its result.
    """
    sides = [rival(problem, training), ours(problem, training, callback=False)]
    sides += [ours(problem, training, callback=True)] * (threads > 1)
    theirs, *found = ((side()[0] if training else side()) for side in sides)
    for y in found:
        np.testing.assert_allclose(y, theirs, atol=1e-3)
    return sides


def rows(question: str, threads: int, effort: Effort, clock: Clock) -> Iterator[Row]:
    """Yield the heading, then a row for each case."""
    yield "layer, H, B", "lax.scan ms", "fastrnn ms", "times", "fastrnn by callback ms"
    training = question == "training"
    T, sizes = QUESTIONS[question]
    for cell, (H, B) in product(CELLS, sizes):
        problem = Problem(Case("training" if training else "forward", cell, H, B, threads, T))
        timings = alternate(compare(problem, training, threads), effort, clock)
        scan, *found = (timing.median * 1e3 for timing in timings)
        callback = f"{found[1]:.3g}" if len(found) > 1 else ""
        yield f"{cell}, {H}, {B}", f"{scan:.3g}", f"{found[0]:.3g}", f"{scan / found[0]:.2f}", callback


def measure(questions: list[str], threads: int, effort: Effort, clock: Clock) -> None:
    """Print the tables of this process, which is restricted to so many processors."""
    PEER.use_threads(threads)
    fastrnn.set_num_threads(threads)
    for question in questions:
        print(f"\n{question}, T = {QUESTIONS[question][0]}, threads: {threads}\n")
        show(rows(question, threads, effort, clock))


def main() -> None:
    """Print a table for each question and number of threads, each number in a process of its own."""
    parser = question_parser("bench.jax", __doc__)
    parser.add_argument("--cpu-time", action="store_true", help="of the process: steadier than time if others run meanwhile")
    arguments = parser.parse_args()
    questions = chosen(parser, arguments.questions, QUESTIONS)
    if len(arguments.threads) == 1:
        clock = Clock(time.process_time) if arguments.cpu_time else Clock()
        measure(questions, arguments.threads[0], Effort(arguments.seconds), clock)
        return
    print(machine_line(jax=jax.__version__), flush=True)
    for n in arguments.threads:
        options = ["--threads", str(n), "--seconds", str(arguments.seconds), *["--cpu-time"] * arguments.cpu_time]
        run_program("jax", *questions, *options)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
