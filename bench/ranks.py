"""Training speed on several ranks of one machine, compared with one rank of as many threads.

``python -m bench.ranks`` measures in turn one rank with one thread, one rank with two threads, and two ranks with one thread
each. It prints the tokens per second of each and the ratios of each round. ``python -m bench.ranks overlap`` measures two
ranks that send gradients during backward, and two that send them after it, and the time in which they only wait.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.commands.arguments import integer
from fastrnn.commands.guard import guarded

from .tables import output_of

MPIEXEC = str(Path(sys.executable).parent / "mpiexec")
SETTINGS = [(1, 1), (1, 2), (2, 1)]  # ranks and threads of each

# Each case: options of the trainer, and the measured steps.
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "chars LSTM 2 x 512, B = 64": ({"reading": "stream", "hidden": 512, "embedding": 0, "batch": 64, "seq_length": 64}, 4),
    "names LSTM 2 x 64, B = 64": ({"reading": "lines", "hidden": 64, "embedding": 64, "batch": 64, "seq_length": 64}, 100),
    "names GRU 1 x 96, B = 64": (
        {"reading": "lines", "model": "gru", "layers": 1, "hidden": 96, "embedding": 64, "batch": 64, "seq_length": 64},
        100,
    ),
}


def work(case: str, overlap: bool) -> None:
    """Train on the ranks that mpiexec started; rank 0 prints tokens per second, and the milliseconds of a step."""
    from fastrnn.corpora import load
    from fastrnn.distributed import gradients, world
    from fastrnn.text.options import make_options
    from fastrnn.text.training import make_trainer

    given, steps = CASES[case]
    if not overlap:
        gradients.OVERLAPPED = sys.maxsize
    text = load("dinosaurs") if given["reading"] == "lines" else synthetic()
    ranks = world()
    options = make_options(**{**given, "max_steps": 10**6, "eval_every": 10**6})
    trainer, _, _ = make_trainer(text, options, communicator=ranks)
    for _ in range(3):
        trainer._step()
    before, waited = trainer.state.tokens, getattr(trainer.ranks._sum, "waited", 0.0)
    started, worked = time.perf_counter(), time.process_time()
    for _ in range(steps):
        trainer._step()
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    if ranks.rank == 0:
        waited = getattr(trainer.ranks._sum, "waited", 0.0) - waited
        speed = (trainer.state.tokens - before) / seconds
        print(
            json.dumps(
                {"speed": speed, "step": 1e3 * seconds / steps, "waited": 1e3 * waited / steps, "cpu": 1e3 * worked / steps}
            )
        )


def synthetic() -> str:
    """Return 400,000 characters out of 65."""
    return "".join(chr(40 + i) for i in np.random.default_rng(0).integers(0, 65, 400_000))


def measured(case: str, ranks: int, threads: int, overlap: bool = True, mpi: tuple[str, ...] = ()) -> dict[str, float]:
    """Run :func:`work` on this number of ranks and return what it prints."""
    own = [sys.executable, "-m", "bench.ranks", "work", "--case", case, *(["--overlap"] if overlap else [])]
    words = [MPIEXEC, *mpi, "-n", str(ranks), *own] if ranks > 1 or mpi else own
    environment = {**os.environ, "FASTRNN_NUM_THREADS": str(threads)}
    found: dict[str, float] = json.loads(output_of(words, env=environment).splitlines()[-1])
    return found


def compare_threads(rounds: int) -> None:
    print("| model | 1 rank x 1 thread | 1 rank x 2 threads | 2 ranks x 1 thread | ranks / threads, each round |")
    print("| --- | --- | --- | --- | --- |")
    for case in CASES:
        speeds = [[measured(case, *setting)["speed"] for setting in SETTINGS] for _ in range(rounds)]
        medians = [statistics.median(row[i] for row in speeds) for i in range(3)]
        ratios = ", ".join(f"{row[2] / row[1]:.2f}" for row in speeds)
        print(f"| {case} | {' | '.join(f'{speed:,.0f}' for speed in medians)} | {ratios} |", flush=True)


def compare_overlap(rounds: int) -> None:
    print("| model | sent | step, ms | of it only waiting, ms |")
    print("| --- | --- | --- | --- |")
    case = next(iter(CASES))
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(rounds):
        for overlap, into in found.items():
            into.append(measured(case, 2, 1, overlap))
    for overlap, rows in found.items():
        step, waited = (statistics.median(row[name] for row in rows) for name in ("step", "waited"))
        print(f"| {case} | {'during' if overlap else 'after'} backward | {step:.0f} | {waited:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ranks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", default="threads", choices=["threads", "overlap", "work"])
    parser.add_argument("--case", default=next(iter(CASES)), choices=list(CASES))
    parser.add_argument("--overlap", action="store_true")
    parser.add_argument("--rounds", type=integer(1), default=5)
    given = parser.parse_args()
    if given.what == "work":
        work(given.case, given.overlap)
    elif given.what == "overlap":
        compare_overlap(given.rounds)
    else:
        compare_threads(given.rounds)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
