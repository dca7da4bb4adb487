"""Timing of two sides that take turns.

A turn is a pause, an untimed call, and timed calls for about 20 ms. The pause ends when the process is idle, because
workers of OpenMP and other pools spin after a call (OpenBLAS's for 26 to 104 ms) on cores that the other side needs. The
untimed call wakes sleeping workers and warms caches. Sides alternate A B A B, so both meet the same clock frequencies and
the same load from other processes.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

Run = Callable[[], Any]

SLOW = 0.05  # seconds: a longer call is its own warm-up, and needs fewer samples
PATIENCE = 50  # most pauses until the other side's workers sleep
SHORTEST_SAMPLE = 50e-6  # seconds: shorter calls are timed together, because reading the clock takes time too


@dataclass(frozen=True, slots=True)
class Clock:
    """The source of time; tests replace it."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    cpu: Callable[[], float] = time.process_time


@dataclass(frozen=True, slots=True)
class Effort:
    """The amount of measurement: ``seconds`` of timed calls per side, in at least ``rounds`` turns of ``turn`` seconds."""

    seconds: float = 0.5
    rounds: int = 5
    turn: float = 0.02
    pause: float = 0.01
    slow_rounds: int = 3  # instead of `rounds`, for slow calls


@dataclass(slots=True)
class Timing:
    """The times of one side, in seconds per call: its very first call, and the samples."""

    first: float
    samples: list[float] = field(default_factory=list)
    faults: float = 0.0  # page faults of a warm call

    @property
    def median(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    @property
    def spread(self) -> float:
        """The interquartile range divided by the median."""
        low, _, high = quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / self.median

    @property
    def best(self) -> float:
        """The shortest sample."""
        return min(self.samples)


@dataclass(slots=True)
class Turn:
    """The turns of one side. A turn takes ``samples`` samples, and a sample times ``calls`` calls."""

    run: Run
    timing: Timing
    call: float
    calls: int
    samples: int

    def settle(self, clock: Clock, effort: Effort) -> None:
        """Pause, then make the untimed calls. A call longer than a turn needs none, because its start hardly matters."""
        rest(clock, effort.pause)
        if self.call < effort.turn:
            for _ in range(min(self.calls, 10)):
                self.run()

    def take(self, clock: Clock, effort: Effort) -> None:
        """Run a whole turn and store its samples."""
        self.settle(clock, effort)
        faults = _faults()
        for _ in range(self.samples):
            begin = clock.now()
            for _ in range(self.calls):
                self.run()
            self.timing.samples.append((clock.now() - begin) / self.calls)
        self.timing.faults = (_faults() - faults) / (self.samples * self.calls)


def rest(clock: Clock, pause: float) -> None:
    """Sleep for ``pause`` seconds, repeatedly while the process keeps a processor busy for half of the pause."""
    for _ in range(PATIENCE):
        used = clock.cpu()
        clock.sleep(pause)
        if clock.cpu() - used <= pause / 2:
            return


def alternate(
    sides: Sequence[Run], effort: Effort, clock: Clock | None = None, firsts: Sequence[float] | None = None
) -> list[Timing]:
    """Time the sides, which take turns. ``firsts`` are the seconds of their first calls, if those were made already."""
    clock = clock or Clock()
    known: Sequence[float | None] = firsts or [None] * len(sides)
    turns = [prepare(run, effort, clock, first) for run, first in zip(sides, known, strict=True)]
    for _ in range(rounds(turns, effort)):
        for turn in turns:
            turn.take(clock, effort)
    return [turn.timing for turn in turns]


def rounds(turns: Sequence[Turn], effort: Effort) -> int:
    """Return the number of turns of each side."""
    slowest = max(turn.call for turn in turns)
    least = effort.rounds if slowest < SLOW else effort.slow_rounds
    return max(least, math.ceil(effort.seconds / max(effort.turn, slowest)))


def prepare(run: Run, effort: Effort, clock: Clock, first: float | None = None) -> Turn:
    """Warm up and measure the duration of a call, from which the size of a turn follows."""
    rest(clock, effort.pause)
    timing = Timing(_once(run, clock) if first is None else first)
    call = _once(run, clock)  # the first call may have compiled, so it does not predict the next
    if call < SLOW:
        call = min(call, _once(run, clock), _once(run, clock))
    calls = max(1, math.ceil(SHORTEST_SAMPLE / call))
    return Turn(run, timing, call, calls, max(1, round(effort.turn / (call * calls))))


def _once(run: Run, clock: Clock) -> float:
    begin = clock.now()
    run()
    return clock.now() - begin


def _faults() -> int:
    """Return the page faults of the process so far that needed no disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
