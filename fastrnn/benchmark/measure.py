"""Timing two sides that take turns.

A turn is: a pause, one call that is not timed, then timed calls for some 20 ms. The pause is there because the workers of
OpenMP and of other pools spin for some milliseconds after a call (OpenBLAS's for 26 to 104), on cores that the other side
needs: it ends when the process is idle. The untimed call, because the first one after a pause finds sleeping workers and
cold caches. Both are the same for both sides, which alternate
A B A B until each has had its share of time, and so meet the same clock frequencies and the same neighbours.
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

SLOW = 0.05  # seconds: a call this long is its own warm-up, and fewer of them will do
PATIENCE = 50  # pauses at most until the other side's workers sleep
SHORTEST_SAMPLE = 50e-6  # seconds: shorter calls are timed several at a time, or the clock's own cost would show


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from; tests bring their own."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    cpu: Callable[[], float] = time.process_time


@dataclass(frozen=True, slots=True)
class Effort:
    """``seconds`` of timed calls for each side, in at least ``rounds`` turns of ``turn`` seconds (or one call)."""

    seconds: float = 0.5
    rounds: int = 5
    turn: float = 0.02
    pause: float = 0.01
    slow_rounds: int = 3  # instead of `rounds`, for slow calls


@dataclass(slots=True)
class Timing:
    """One side: the first call of all, and the samples, in seconds a call."""

    first: float
    samples: list[float] = field(default_factory=list)
    faults: float = 0.0  # page faults of a warm call

    @property
    def median(self) -> float:
        """The figure."""
        return median(self.samples)

    @property
    def spread(self) -> float:
        """The interquartile range over the median."""
        low, _, high = quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / self.median

    @property
    def best(self) -> float:
        """The shortest sample."""
        return min(self.samples)


@dataclass(slots=True)
class Turn:
    """How one side is timed: so many samples a turn, each of so many calls."""

    run: Run
    timing: Timing
    call: float
    calls: int
    samples: int

    def settle(self, clock: Clock, effort: Effort) -> None:
        """The pause and what is not timed; a call longer than a turn does without, as its start hardly counts."""
        rest(clock, effort.pause)
        if self.call < effort.turn:
            for _ in range(min(self.calls, 10)):
                self.run()

    def take(self, clock: Clock, effort: Effort) -> None:
        """All of a turn."""
        self.settle(clock, effort)
        faults = _faults()
        for _ in range(self.samples):
            begin = clock.now()
            for _ in range(self.calls):
                self.run()
            self.timing.samples.append((clock.now() - begin) / self.calls)
        self.timing.faults = (_faults() - faults) / (self.samples * self.calls)


def rest(clock: Clock, pause: float) -> None:
    """Sleep for ``pause`` seconds, again and again while threads of the process keep a processor busy for half of it."""
    for _ in range(PATIENCE):
        used = clock.cpu()
        clock.sleep(pause)
        if clock.cpu() - used <= pause / 2:
            return


def alternate(
    sides: Sequence[Run], effort: Effort, clock: Clock | None = None, firsts: Sequence[float] | None = None
) -> list[Timing]:
    """Time each side; they take turns. ``firsts``: what the first call of each took, where that has been made."""
    clock = clock or Clock()
    known: Sequence[float | None] = firsts or [None] * len(sides)
    turns = [prepare(run, effort, clock, first) for run, first in zip(sides, known, strict=True)]
    for _ in range(rounds(turns, effort)):
        for turn in turns:
            turn.take(clock, effort)
    return [turn.timing for turn in turns]


def rounds(turns: Sequence[Turn], effort: Effort) -> int:
    """How often each side has its turn."""
    slowest = max(turn.call for turn in turns)
    least = effort.rounds if slowest < SLOW else effort.slow_rounds
    return max(least, math.ceil(effort.seconds / max(effort.turn, slowest)))


def prepare(run: Run, effort: Effort, clock: Clock, first: float | None = None) -> Turn:
    """Warm up, and find out how long a call takes."""
    rest(clock, effort.pause)
    timing = Timing(_once(run, clock) if first is None else first)
    call = _once(run, clock)  # not the first one, which may have compiled: it says nothing about the next
    if call < SLOW:
        call = min(call, _once(run, clock), _once(run, clock))
    calls = max(1, math.ceil(SHORTEST_SAMPLE / call))
    return Turn(run, timing, call, calls, max(1, round(effort.turn / (call * calls))))


def _once(run: Run, clock: Clock) -> float:
    begin = clock.now()
    run()
    return clock.now() - begin


def _faults() -> int:
    """Page faults of the process so far that took no disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
