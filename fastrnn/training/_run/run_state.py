"""What a run knows of itself: its saved state, and what it tells callbacks and callers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Window:
    """Sums over the steps since the last evaluation. ``seconds`` is the time spent in those steps alone."""

    steps: int = 0
    tokens: int = 0
    loss: float = 0.0  # nats, over all tokens
    grad_norm: float = 0.0
    seconds: float = 0.0

    def add(self, loss: float, tokens: int, grad_norm: float, seconds: float) -> Window:
        """With one more step of this mean loss per token."""
        return Window(
            self.steps + 1,
            self.tokens + tokens,
            self.loss + (loss * tokens if tokens else 0.0),  # where nothing counts a loss may be NaN
            self.grad_norm + grad_norm,
            self.seconds + seconds,
        )

    @property
    def mean_loss(self) -> float:
        """Nats per token; NaN when there was none."""
        return self.loss / self.tokens if self.tokens else math.nan

    @property
    def mean_grad_norm(self) -> float:
        """The mean of the steps' norms; NaN when there was no step."""
        return self.grad_norm / self.steps if self.steps else math.nan

    @property
    def tokens_per_second(self) -> float:
        """0 when there was no step."""
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class RunState:
    """The loop's own part of a checkpoint. Frozen, and replaced as a whole: an interrupt never sees half an update.

    ``lr`` is the last step's learning rate; ``seconds`` counts the time of all sittings of a run; ``evaluations``
    those made, ``stale`` those since the best one.
    """

    base_lr: float
    lr: float
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    evaluated_step: int = 0
    val_loss: float | None = None
    best_val_loss: float | None = None
    best_step: int | None = None
    stale: int = 0
    window: Window = Window()
    evaluations: int = 0

    def after_evaluation(self, val_loss: float, seconds: float) -> RunState:
        """With an evaluation at this step entered, and a new window."""
        number = self.evaluations + 1
        state = replace(
            self, seconds=seconds, evaluated_step=self.step, val_loss=val_loss, window=Window(), evaluations=number
        )
        if self.improves(val_loss):
            return replace(state, best_val_loss=val_loss, best_step=self.step, stale=0)
        return replace(state, stale=self.stale + 1)

    def improves(self, val_loss: float) -> bool:
        """Whether this would be the best validation loss so far; NaN never is."""
        return val_loss < (math.inf if self.best_val_loss is None else self.best_val_loss)


@dataclass(frozen=True, slots=True)
class Info:
    """What callbacks are told.

    In ``on_step``, ``train_loss`` and ``grad_norm`` (before clipping) are that step's; in ``on_eval`` they are means
    since the evaluation before; in ``on_end`` they are the last ones known. Losses are in nats per token. ``tokens``
    counts from the start of the run; ``tokens_per_second`` is the mean of training steps since the last evaluation.
    ``val_loss`` is the last one known. ``improved`` (``on_eval``): this is the best evaluation so far. ``epoch``: how
    many evaluations there have been. ``metrics`` (``on_metrics``, ``on_eval``): all figures of this one by name,
    ``loss``, ``val_loss``, ``lr`` and those of the task. ``stopped`` (``on_end``): as in :class:`Result`, or "failed"
    when an error ended the run.
    """

    step: int
    seconds: float
    train_loss: float
    val_loss: float | None
    tokens: int
    tokens_per_second: float
    lr: float
    grad_norm: float
    best_val_loss: float | None
    best_step: int | None
    improved: bool = False
    stopped: str | None = None
    epoch: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: ``stopped`` is "steps", "seconds", "patience", "interrupted", or "callback" when one asked for it.

    Losses in nats per token.
    """

    step: int
    seconds: float
    best_val_loss: float | None
    best_step: int | None
    stopped: str
