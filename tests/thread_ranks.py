"""Ranks that are threads of one process: a communicator for tests, and a function that runs one program on all of them."""

from __future__ import annotations

import json
import threading

import numpy as np

from fastrnn.distributed.communicator import Done


class Shared:
    """What the threads share: a barrier and a slot for each rank."""

    def __init__(self, size):
        self.barrier = threading.Barrier(size, timeout=60)
        self.slots = [None] * size


class ThreadCommunicator:
    """One rank among threads; sums are added in the order of the ranks."""

    def __init__(self, rank, shared):
        self.rank, self.size, self.host = rank, len(shared.slots), f"thread{rank}"
        self._shared = shared
        self.messages = []  # the bytes of each sum

    def _exchange(self, value):
        self._shared.slots[self.rank] = value
        self._shared.barrier.wait()
        found = list(self._shared.slots)
        self._shared.barrier.wait()  # wait before a slot is used again
        return found

    def allreduce(self, array):
        self.iallreduce(array.copy(), array)

    def iallreduce(self, source, target):
        parts = self._exchange(source.copy())
        assert len({(part.shape, part.dtype) for part in parts}) == 1, [part.shape for part in parts]
        self.messages.append(source.nbytes)
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        target[...] = total
        return Done()

    def broadcast(self, array, root=0):
        array[...] = self._exchange(array.copy())[root]

    def gather(self, value):
        return [json.loads(text) for text in self._exchange(json.dumps(value))]

    def barrier(self):
        self._shared.barrier.wait()

    def abort(self, status):
        self._shared.barrier.abort()


def on_ranks(size, program):
    """Run ``program(communicator)`` on each rank; return the results, or raise the error of the lowest rank that has one."""
    shared, results, errors = Shared(size), [None] * size, [None] * size

    def run(rank):
        try:
            results[rank] = program(ThreadCommunicator(rank, shared))
        except BaseException as error:
            errors[rank] = error
            if not isinstance(error, threading.BrokenBarrierError):
                shared.barrier.abort()

    workers = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    own = [error for error in errors if error is not None and not isinstance(error, threading.BrokenBarrierError)]
    if own:
        raise own[0]
    assert not any(errors)
    return results


def weights(model):
    return {name: np.array(param.data) for name, param in model.named_parameters()}
