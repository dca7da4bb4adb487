"""Averages of gradients over ranks, weighted by the number of tokens that each rank counts.

Gradients travel in buckets of at least ``BUCKET`` bytes, in the order in which backward computes them: last parameters
first.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from .._core import checks, memory
from .._core.arrays import Array
from .._core.gradient_events import listen
from .._core.parameter import Parameter
from ..gradients import Params, named
from . import heartbeat
from .agreement import require_same
from .communicator import Communicator, Request
from .world import world

BUCKET = 1 << 17  # bytes; a message of this size uses most of a link's bandwidth
OVERLAPPED = 1 << 20  # bytes; at least this many are sent during backward, because a small model's step is one call
PAUSE = 2e-3  # seconds between two checks of the sums on their way; every 0.5 ms they took a tenth of the compute time


class _Bucket(NamedTuple):
    """Gradients that travel together, their sum's source and target, and where each lies in these."""

    members: list[tuple[str, Parameter, slice]]
    source: Array
    target: Array


class GradientSum:
    """Weighted sum of gradients over ranks, in buffers that are used again at each step.

    All ranks pass the same parameters. Parameters without a gradient on any rank are left out. Each step calls
    :meth:`start` after backward, then :meth:`finish`. A step whose backward runs in :meth:`during` sends the gradients of a
    layer while the layers below are still computing.

    ``waited`` counts the seconds in which this rank did nothing but wait for sums.
    """

    def __init__(self, communicator: Communicator, params: Sequence[tuple[str, Parameter]]) -> None:
        self._communicator, self._params = communicator, list(params)
        shapes = {
            f"shape of parameter {i}, {name}": f"{param.shape} {param.dtype}" for i, (name, param) in enumerate(params)
        }
        require_same(communicator, {"number of parameters": len(params), **shapes})
        present = zip(*communicator.gather([param.grad is not None for _, param in params]), strict=True)
        used = [any(on_ranks) for on_ranks in present]
        self._left_out = [pair for pair, use in zip(params, used, strict=True) if not use]
        self._buckets = [
            _bucket(members) for members in _grouped([p for p, use in zip(params, used, strict=True) if use][::-1])
        ]
        self._requests: list[Request] = []
        self._weight = 0.0
        self._events: Counter[int] = Counter()  # of this step, by the identity of the parameter
        self._expected: Counter[int] | None = None  # the events of a whole step
        self.waited = 0.0
        self.overlaps = sum(bucket.source.nbytes for bucket in self._buckets) >= OVERLAPPED

    def is_of(self, communicator: Communicator, params: Sequence[tuple[str, Parameter]]) -> bool:
        """Return whether this is the sum over these ranks of the gradients of these parameters."""
        return communicator is self._communicator and list(params) == self._params

    def lacks_a_gradient(self) -> bool:
        """Return whether a parameter that was left out has a gradient by now."""
        return any(param.grad is not None for _, param in self._left_out)

    @contextmanager
    def during(self, weight: float) -> Iterator[None]:
        """Send gradients during the block, in which a backward pass runs; ``weight`` is that of :meth:`start`."""
        self._weight, self._events = weight, Counter()
        with listen(self._completed), _Progress(self._requests) as self._progress:
            yield
        if self._expected is None:
            self._expected = self._events

    def _completed(self, parameters: Iterable[Parameter]) -> None:
        self._events.update(map(id, parameters))
        if self._expected is None:  # the first step shows how many events complete a gradient
            return
        for bucket in self._buckets[len(self._requests) :]:
            if not all(0 < self._expected[id(p)] <= self._events[id(p)] for _, p, _ in bucket.members):
                return
            self._send(bucket)
            self._progress.start()

    def _send(self, bucket: _Bucket) -> None:
        if not self._weight:  # the gradient of a mean over no tokens is NaN, and stays NaN times 0
            bucket.source[...] = 0
        else:
            for _, param, place in bucket.members:
                np.multiply(param.gradient().reshape(-1), self._weight, out=bucket.source[place])
        self._requests.append(self._communicator.iallreduce(bucket.source, bucket.target))

    def start(self, weight: float) -> None:
        """Start to add up all gradients times this rank's ``weight``, except those that are already on their way."""
        if self.lacks_a_gradient():
            names = ", ".join(name for name, _ in self._left_out)
            raise RuntimeError(f"{names} must have gradients in the first step, as the other parameters")
        for bucket in self._buckets[: len(self._requests)]:
            for name, param, _ in bucket.members:
                if self._expected is None or self._events[id(param)] != self._expected[id(param)]:
                    raise RuntimeError(f"the gradient of {name} changed after it was sent: a layer was used more often")
        self._weight = weight
        for bucket in self._buckets[len(self._requests) :]:
            self._send(bucket)

    def finish(self, total: float) -> None:
        """Wait for the sums, and replace each gradient by its sum over all ranks, divided by the ``total`` weight."""
        for request, bucket in zip(self._requests, self._buckets, strict=True):
            began = time.perf_counter()
            request.wait()
            self.waited += time.perf_counter() - began
            for _, param, place in bucket.members:
                if total:
                    np.divide(bucket.target[place], total, out=param.gradient().reshape(-1))
                else:
                    param.zero_grad()
        self._requests.clear()

    def not_finite(self) -> str | None:
        """Return the name of a parameter whose gradient was not finite on this rank before the last sum."""
        for bucket in self._buckets:
            for name, _, place in bucket.members:
                if not np.isfinite(bucket.source[place]).all():
                    return name
        return None


class _Progress:
    """Thread that lets MPI make progress during a block, because most MPI libraries move data only in calls to them."""

    def __init__(self, requests: list[Request]) -> None:
        self._requests, self._done = requests, threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> _Progress:
        return self

    def start(self) -> None:
        """Start the thread, if it does not run yet: as soon as something is on its way."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(PAUSE):
            for request in list(self._requests):
                request.test()


def _grouped(params: Sequence[tuple[str, Parameter]]) -> list[list[tuple[str, Parameter]]]:
    """Divide parameters into neighbours of one dtype, of at least BUCKET bytes except the last."""
    groups: list[list[tuple[str, Parameter]]] = []
    room = 0
    for name, param in params:
        if not groups or room <= 0 or groups[-1][-1][1].dtype != param.dtype:
            groups.append([])
            room = BUCKET
        groups[-1].append((name, param))
        room -= param.size * param.dtype.itemsize
    return groups


def _bucket(params: Sequence[tuple[str, Parameter]]) -> _Bucket:
    ends = np.cumsum([param.size for _, param in params]).tolist()
    members = [(name, param, slice(end - param.size, end)) for (name, param), end in zip(params, ends, strict=True)]
    source, target = (memory.zeros((ends[-1],), params[0][1].dtype) for _ in range(2))
    return _Bucket(members, source, target)


def average_gradients(params: Params, weight: float, communicator: Communicator | None = None) -> float:
    """Replace each gradient by its mean over ranks, and return the sum of the weights.

    Call it on every rank between backward and clipping. One process leaves the gradients as they are.

    Parameters
    ----------
    params
        Parameters or pairs of a name and a parameter, as from ``model.named_parameters()``; the same on all ranks.
    weight
        The number of tokens of this rank's part of the batch, over which its loss is a mean. A rank with weight 0
        contributes nothing.
    communicator
        The connection among ranks; by default :func:`world`.

    Raises
    ------
    RanksDiffer
        if a rank passes other parameters than rank 0 does
    """
    communicator = world() if communicator is None else communicator
    weight = checks.number("weight", weight, 0.0)
    pairs = named(params)
    if communicator.size == 1:
        return weight
    mean = _last.fitting(communicator, pairs)
    sums = np.array([weight, mean is None or mean.lacks_a_gradient()])
    heartbeat.doing(heartbeat.WAITING)
    communicator.allreduce(sums)
    if mean is None or sums[1]:
        mean = _last.sum = GradientSum(communicator, pairs)
    mean.start(weight)
    mean.finish(float(sums[0]))
    heartbeat.doing(heartbeat.OTHER)
    return float(sums[0])


class _Last(threading.local):
    """The sum of this thread's last call, whose buffers the next call with the same parameters uses again."""

    sum: GradientSum | None = None

    def fitting(self, communicator: Communicator, pairs: Sequence[tuple[str, Parameter]]) -> GradientSum | None:
        found = self.sum
        return found if found is not None and found.is_of(communicator, pairs) else None


_last = _Last()
