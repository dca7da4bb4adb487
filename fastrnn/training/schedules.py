"""Learning-rate schedules: functions from the next step (0, 1, ...) to a factor of the base rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .._core import checks

Schedule = Callable[[int], float]
WARMUP_SHARE = 0.1  # largest share of a timed run that is warm-up
RESOLUTION = 1_000_000  # steps of a schedule that is stretched over a time

NAMES = ("constant", "step", "cosine")


def constant() -> Schedule:
    """Return a schedule that keeps the base rate throughout."""
    return lambda step: 1.0


def step(every: int, decay: float = 0.5) -> Schedule:
    """Return the schedule ``decay ** (step // every)``."""
    every = checks.positive_int("every", every)
    decay = checks.number("decay", decay, 0.0)
    return lambda step: decay ** (step // every)


def cosine(total_steps: int, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """Return half a cosine from 1 at step ``warmup`` down to ``floor`` at ``total_steps``, then ``floor``.

    The first ``warmup`` steps are the linear rise of :func:`with_warmup`. Source: Loshchilov & Hutter 2017, without
    restarts.
    """
    total_steps = checks.positive_int("total_steps", total_steps)
    warmup = checks.positive_int("warmup", warmup, smallest=0)
    floor = checks.number("floor", floor, 0.0, 1.0)
    length = max(1, total_steps - warmup)

    def factor(step: int) -> float:
        progress = min(1.0, step / length)
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return with_warmup(factor, warmup)


def with_warmup(schedule: Schedule, warmup: int) -> Schedule:
    """Return a linear rise over ``warmup`` steps, 1/(warmup+1) at step 0, followed by ``schedule`` from its step 0."""
    warmup = checks.positive_int("warmup", warmup, smallest=0)
    return lambda step: (step + 1) / (warmup + 1) if step < warmup else schedule(step - warmup)


def make(
    name: str, *, total_steps: int, warmup: int = 0, every: int | None = None, decay: float = 0.5, floor: float = 0.0
) -> Schedule:
    """Return a schedule by name, with warm-up. Raises TypeError or ValueError naming the argument.

    Parameters
    ----------
    name
        ``"constant"``, ``"step"`` or ``"cosine"``.
    total_steps
        The steps of the run.
    warmup
        The steps of the linear rise.
    every, decay
        The arguments of :func:`step`; ``every`` is a quarter of ``total_steps`` by default.
    floor
        The last factor of :func:`cosine`.
    """
    checks.choice("schedule", name, NAMES)
    total_steps = checks.positive_int("total_steps", total_steps)
    if name == "cosine":
        return cosine(total_steps, warmup, floor)
    if name == "step":
        return with_warmup(step(max(1, total_steps // 4) if every is None else every, decay), warmup)
    return with_warmup(constant(), warmup)


@dataclass(frozen=True, slots=True)
class TimedSchedule:
    """Schedule stretched over a run's time: a function from the step and the share of the time used, 0 to 1, to a factor.

    ``shape`` has ``RESOLUTION`` steps. The warm-up takes ``warmup`` steps, but at most a tenth of the time.
    """

    shape: Schedule
    warmup: int

    def __call__(self, step: int, share: float) -> float:
        """Return the factor at a step, when ``share`` of the time is used."""
        rise = max((step + 1) / (self.warmup + 1), share / WARMUP_SHARE)
        return min(1.0, rise) * self.shape(round(share * RESOLUTION))


def make_timed(name: str, *, warmup: int = 0) -> TimedSchedule:
    """Return a :class:`TimedSchedule` with a name of :func:`make`. Raises TypeError or ValueError naming the argument."""
    return TimedSchedule(make(name, total_steps=RESOLUTION), checks.positive_int("warmup", warmup, smallest=0))
