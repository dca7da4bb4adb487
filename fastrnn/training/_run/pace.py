"""The pace of evaluations, and how much they evaluate: often enough for a curve, in a small share of the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ...console import say

if TYPE_CHECKING:
    from ..loop import Trainer
    from ..task import LoopConfig
    from .run_state import Info, RunState

POINTS = 10  # of a loss curve at least, where a run has as many steps
MARKS = 12  # that a time limit is divided by: an evaluation may be late for one of them
LONGEST_SECONDS = 60.0  # between evaluations that go by time: a kill loses no more

# A token takes a third of the time in an evaluation that it takes in training, on some machines as long. These are shares
# of the tokens that are trained on between two evaluations: up to FULL_SHARE of them all is evaluated, else a sample.
FULL_SHARE = 1 / 4
SAMPLED_SHARE = 1 / 16
SAMPLED_LEAST = 1 << 10  # tokens: fewer tell little, and take little more time than none


@runtime_checkable
class SampledTask(Protocol):
    """A :class:`fastrnn.training.task.Task` that can be evaluated on a fixed sample of what is held out.

    A :class:`fastrnn.training.Trainer` evaluates on the sample from the first evaluation to the last. The evaluation in
    full at the end is what the commands add, or on a larger sample where their time is limited: who calls ``Trainer.run``
    calls ``evaluate_in_full`` afterwards.
    """

    @property
    def evaluated(self) -> tuple[int, int]:
        """The tokens that ``evaluate`` counts, and those held out."""

    def limit_evaluation(self, tokens: int) -> None:
        """Let ``evaluate`` read about so many ``tokens`` from now on, always the same.

        What it reads is part of the task's ``state_dict``.
        """

    def evaluate_in_full(self, advance: Callable[[int], None] = ...) -> float:
        """The loss on all that is held out; ``advance`` is told how many tokens more have been counted."""


def limit_evaluation(task: object, tokens: int) -> None:
    """Choose what a run is evaluated on, before its first evaluation, ``tokens`` of training after the start.

    That is all that is held out if it is little beside the ``tokens``, which are about as many between later evaluations.
    """
    if isinstance(task, SampledTask) and task.evaluated[1] > max(SAMPLED_LEAST, tokens * FULL_SHARE):
        task.limit_evaluation(max(SAMPLED_LEAST, int(tokens * SAMPLED_SHARE)))


class SampleNotice:
    """A callback that says once what a run is evaluated on, if that is a sample. ``unit`` is what losses are counted per."""

    def __init__(self, unit: str, show: Callable[[str], None] = say) -> None:
        self._unit, self._show = unit, show
        self._task: object = None
        self._timed = False

    def on_begin(self, trainer: Trainer) -> None:
        """Look at the run's task and its time limit."""
        self._task, self._timed = trainer.task, trainer.config.max_seconds is not None

    def on_metrics(self, info: Info) -> None:
        """Say it at the first evaluation, before its line."""
        if sample := sample_of(self._task):
            counts = f"{sample[0]:,} of the {sample[1]:,} {self._unit}s held out"
            last = "as many as the time allows" if self._timed else "all of them"
            self._show(f"evaluated on {counts}, always the same ones; on {last} at the end")
        self._task = None


def sample_of(task: object) -> tuple[int, int] | None:
    """The size of the sample that a run is evaluated on, and of all that is held out; None where all is evaluated."""
    if not isinstance(task, SampledTask):
        return None
    taken, held = task.evaluated
    return (taken, held) if taken < held else None


def evaluation_due(config: LoopConfig, state: RunState, evaluated: float) -> bool:
    """Whether a run is to be evaluated at its present step, wherever it ends.

    ``evaluated`` are the seconds from the start to the end of the last evaluation, its samples and checkpoints included.
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
    """Return a run's options: what is ``given``, else ``defaults``, with limits and evaluations that fit each other.

    With ``max_seconds`` alone the time is the only limit (``max_steps`` is None), and evaluations go by time (``eval_every``
    is None). With a small ``max_steps`` they are closer together. What is given is never changed.
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
