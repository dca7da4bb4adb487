"""Timing and size of evaluations: often enough for a loss curve, in a small share of the training time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ...console import say

if TYPE_CHECKING:
    from ..loop import Trainer
    from ..task import LoopConfig
    from .run_state import Info, RunState

POINTS = 10  # smallest number of points of a loss curve, if a run has as many steps
MARKS = 12  # number of intervals in a time limit; more than POINTS, because some intervals may get no evaluation
LONGEST_SECONDS = 60.0  # between timed evaluations, so a killed process loses no more than this

# Evaluating a token takes a third of the time of training on it, on some machines the same time. The numbers are shares of
# the tokens trained on between two evaluations. If at most FULL_SHARE of these is held out, all of it is evaluated, else a
# sample.
FULL_SHARE = 1 / 4
SAMPLED_SHARE = 1 / 16
SAMPLED_LEAST = 1 << 10  # tokens; fewer are a poor estimate and save little time


@runtime_checkable
class SampledTask(Protocol):
    """Protocol of a :class:`fastrnn.training.task.Task` that can be evaluated on a fixed sample of the held-out tokens.

    A :class:`fastrnn.training.Trainer` uses the sample in all evaluations. The commands add an evaluation in full at the
    end, or on a larger sample if their time is limited. A caller of ``Trainer.run`` calls ``evaluate_in_full`` afterwards.
    """

    @property
    def evaluated(self) -> tuple[int, int]:
        """The number of tokens that ``evaluate`` counts, and the number of all held-out tokens."""

    def limit_evaluation(self, tokens: int) -> None:
        """Limit ``evaluate`` to a fixed sample that reads about ``tokens``.

        The choice is part of the task's ``state_dict``.
        """

    def evaluate_in_full(self, advance: Callable[[int], None] = ...) -> float:
        """Return the loss on all held-out tokens; ``advance`` is called with the number of tokens of each batch."""


def limit_evaluation(task: object, tokens: int) -> None:
    """Choose before the first evaluation whether a run is evaluated in full or on a sample.

    ``tokens`` is the number trained on so far, and about as many follow between later evaluations. A sample is chosen if the
    held-out tokens are too many compared with these.
    """
    if isinstance(task, SampledTask) and task.evaluated[1] > max(SAMPLED_LEAST, tokens * FULL_SHARE):
        task.limit_evaluation(max(SAMPLED_LEAST, int(tokens * SAMPLED_SHARE)))


class SampleNotice:
    """Callback that says once that a run is evaluated on a sample, and its size. ``unit`` is the name of a token."""

    def __init__(self, unit: str, show: Callable[[str], None] = say) -> None:
        self._unit, self._show = unit, show
        self._task: object = None
        self._timed = False

    def on_begin(self, trainer: Trainer) -> None:
        """Read the run's task and whether it has a time limit."""
        self._task, self._timed = trainer.task, trainer.config.max_seconds is not None

    def on_metrics(self, info: Info) -> None:
        """Print the notice at the first evaluation, before its line."""
        if sample := sample_of(self._task):
            counts = f"{sample[0]:,} of the {sample[1]:,} {self._unit}s held out"
            last = "as many as the time allows" if self._timed else "all of them"
            self._show(f"evaluated on {counts}, always the same ones; on {last} at the end")
        self._task = None


def sample_of(task: object) -> tuple[int, int] | None:
    """Return the number of tokens in the evaluation sample and of all held out; None if all are evaluated."""
    if not isinstance(task, SampledTask):
        return None
    taken, held = task.evaluated
    return (taken, held) if taken < held else None


def evaluation_due(config: LoopConfig, state: RunState, evaluated: float) -> bool:
    """Return whether an evaluation is due at the current step.

    ``evaluated`` is the time in seconds from the start of the run to the end of the last evaluation, with its samples and
    checkpoints.
    """
    if config.eval_every is not None:
        return state.step % config.eval_every == 0
    if config.max_steps is not None and state.step % _every(config.max_steps) == 0:
        return True
    if config.max_seconds is None:
        return False
    between = min(config.max_seconds / MARKS, LONGEST_SECONDS)
    return state.seconds // between > evaluated // between


def paced(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``given`` options completed by ``defaults``, with ``max_steps`` and ``eval_every`` fitted to the limits.

    With ``max_seconds`` alone, time is the only limit (``max_steps`` is None) and evaluations are timed (``eval_every`` is
    None). With a small ``max_steps``, evaluations are closer together. Given options never change.
    """
    options = {**defaults, **given}
    timed = options.get("max_seconds") is not None
    if timed and "max_steps" not in given:
        options["max_steps"] = None
    if "eval_every" in given:
        return options
    if timed:
        options["eval_every"] = None
    elif isinstance(options["max_steps"], int):
        options["eval_every"] = min(options["eval_every"], _every(options["max_steps"]))
    return options


def _every(max_steps: int) -> int:
    return max(1, max_steps // POINTS)
