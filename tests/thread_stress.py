"""Eight threads call layers, train, fork and change weights at once: ``python tests/thread_stress.py [SECONDS]``.

Each thread takes one random action after another and compares all bits with results that were computed before. A call of the
layer that all threads share is compared if no thread changed its weights meanwhile. If one did, backward may refuse with the
error that says so, and the call may return anything. A forked child checks the same and ends.
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import Counter

import cases
import numpy as np

import fastrnn

THREADS, SETS = 8, 4
SIZES = [(3, 50, 9, 100), (5, 2, 4, 130), (4, 1, 3, 5), (20, 7, 8, 33)]  # T, B, I, H
SHAPE, HIDDEN = (4, 9, 17), 40  # T, B, I
REFUSED = "has changed since the forward pass"


def new_layer(seed=0):
    return fastrnn.LSTM(SHAPE[-1], HIDDEN, 2, bidirectional=True, rng=seed, backend="c")


def trained(layer, x, dy):
    """Return y and dx; the gradients of the parameters are added to."""
    (y, _), backward = layer.forward(x)
    return y, backward(dy)[0]


class Expected:
    """Sets of weights, and the results of each, from one thread."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal(SHAPE, "f4")
        self.dy = rng.standard_normal((*SHAPE[:2], 2 * HIDDEN), "f4")
        self.weights = [new_layer(seed).state_dict() for seed in range(SETS)]
        self.y, self.dx, self.gradients = [], [], []
        for weights in self.weights:
            layer = new_layer()
            layer.load_state_dict(weights)
            y, dx = trained(layer, self.x, self.dy)
            self.y.append(y)
            self.dx.append(dx)
            self.gradients.append({name: p.grad.copy() for name, p in layer.named_parameters()})
        self.cases = [cases.make_case(cases.CELLS[i], *size, "float32", lengths=True) for i in (1, 3, 9) for size in SIZES]
        self.results = [cases.run("c", case) for case in self.cases]


class Shared:
    """The layer of all threads. ``changes`` is odd while a thread writes its weights."""

    def __init__(self, expected):
        self.expected, self.layer, self.writing = expected, new_layer(), threading.Lock()
        self.changes, self.current = 0, 0
        self.change(0)

    def change(self, number):
        self.changes += 1
        self.layer.load_state_dict(self.expected.weights[number])
        self.current = number
        self.changes += 1


class Worker:
    """One of the threads: its own layer, its random numbers, and the counts of what it did."""

    def __init__(self, shared, seed):
        self.shared, self.expected, self.layer = shared, shared.expected, new_layer()
        self.random, self.counts = random.Random(seed), Counter()

    def same(self, found, wanted, what):
        assert np.array_equal(found, wanted), f"{what} differs by {np.abs(found - wanted).max()}"

    def call_shared(self):
        before, number = self.shared.changes, self.shared.current
        y = self.shared.layer(self.expected.x)[0]
        if before % 2 == 0 and self.shared.changes == before:
            self.same(y, self.expected.y[number], "y of the shared layer")
            self.counts["compared"] += 1

    def train_shared(self):
        before, number = self.shared.changes, self.shared.current
        try:
            y, dx = trained(self.shared.layer, self.expected.x, self.expected.dy)
        except RuntimeError as error:
            if REFUSED not in str(error) or (before % 2 == 0 and self.shared.changes == before):
                raise
            self.counts["refused"] += 1
            return
        if before % 2 == 0 and self.shared.changes == before:
            self.same(y, self.expected.y[number], "y of training the shared layer")
            self.same(dx, self.expected.dx[number], "dx of training the shared layer")
            self.counts["compared"] += 1

    def change_shared(self):
        with self.shared.writing:
            self.shared.change(self.random.randrange(SETS))

    def train_own(self):
        number = self.random.randrange(SETS)
        self.layer.load_state_dict(self.expected.weights[number])
        self.layer.zero_grad()
        y, dx = trained(self.layer, self.expected.x, self.expected.dy)
        self.same(y, self.expected.y[number], "y of an own layer")
        self.same(dx, self.expected.dx[number], "dx of an own layer")
        for name, parameter in self.layer.named_parameters():
            self.same(parameter.grad, self.expected.gradients[number][name], f"gradient of {name}")

    def run_case(self):
        i = self.random.randrange(len(self.expected.cases))
        got = cases.run("c", self.expected.cases[i])
        for key, value in self.expected.results[i].items():
            self.same(got[key], value, key)

    def change_threads(self):
        fastrnn.set_num_threads(self.random.randrange(1, 4))

    def fork(self):
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # ends a child that hangs
            try:
                for action in (self.run_case, self.call_shared, self.train_own, self.train_shared):
                    action()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == 0, f"a forked child ended with {status}"

    def run(self, end):
        frequencies = {
            self.call_shared: 6,
            self.train_shared: 4,
            self.change_shared: 2,
            self.train_own: 4,
            self.run_case: 4,
            self.change_threads: 1,
            self.fork: 1,
        }
        while time.monotonic() < end:
            (action,) = self.random.choices(list(frequencies), frequencies.values())
            action()
            self.counts[action.__name__] += 1


def main(seconds):
    """Run the threads; return 1 and print the errors if there are any."""
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    faulthandler.dump_traceback_later(seconds + 120, exit=True)
    shared = Shared(Expected())
    workers = [Worker(shared, seed) for seed in range(THREADS)]
    errors, end = [], time.monotonic() + seconds

    def run(worker):
        try:
            worker.run(end)
        except BaseException:
            errors.append(traceback.format_exc())

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum((worker.counts for worker in workers), Counter())
    print(", ".join(f"{name} {total[name]:,}" for name in sorted(total)))
    print("\n".join(errors) or "all right")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0))
