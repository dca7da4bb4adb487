"""State of a run: the part that is saved, and the information for callbacks and callers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Window:
    """Sums over the steps since the last evaluation. ``seconds`` is the time spent in these steps alone."""

    steps: int = 0
    tokens: int = 0
    loss: float = 0.0  # nats, summed over all tokens
    grad_norm: float = 0.0
    seconds: float = 0.0

    def add(self, loss: float, tokens: int, grad_norm: float, seconds: float) -> Window:
        """Return the window with one more step, whose ``loss`` is the mean per token."""
        return Window(
            self.steps + 1,
            self.tokens + tokens,
            self.loss + (loss * tokens if tokens else 0.0),  # a loss over no tokens may be NaN
            self.grad_norm + grad_norm,
            self.seconds + seconds,
        )

    @property
    def mean_loss(self) -> float:
        """The mean loss in nats per token; NaN without tokens."""
        return self.loss / self.tokens if self.tokens else math.nan

    @property
    def mean_grad_norm(self) -> float:
        """The mean of the steps' gradient norms; NaN without steps."""
        return self.grad_norm / self.steps if self.steps else math.nan

    @property
    def tokens_per_second(self) -> float:
        """The mean speed of the steps; 0 without steps."""
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class RunState:
    """State of the training loop in a checkpoint. It is immutable, so an interrupt never sees half an update.

    ``lr`` is the learning rate of the last step, ``seconds`` the time of all sessions of a run, ``evaluations`` the number
    of evaluations, and ``stale`` the number of those since the best one.
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
        """Return the state after an evaluation at this step, with an empty window."""
        number = self.evaluations + 1
        state = replace(
            self, seconds=seconds, evaluated_step=self.step, val_loss=val_loss, window=Window(), evaluations=number
        )
        if self.improves(val_loss):
            return replace(state, best_val_loss=val_loss, best_step=self.step, stale=0)
        return replace(state, stale=self.stale + 1)

    def improves(self, val_loss: float) -> bool:
        """Return whether this is the best validation loss so far; NaN never is."""
        return val_loss < (math.inf if self.best_val_loss is None else self.best_val_loss)


@dataclass(frozen=True, slots=True)
class Info:
    """Information about a run for callbacks. Losses are in nats per token.

    Attributes
    ----------
    train_loss, grad_norm
        In ``on_step``, those of the step, with the norm before clipping. In ``on_metrics`` and ``on_eval``, means since the
        previous evaluation. In ``on_end`` the last known values.
    val_loss
        The last known validation loss.
    tokens, tokens_per_second
        Tokens since the start of the run, and the mean speed of training steps since the last evaluation.
    improved
        In ``on_metrics`` and ``on_eval``: whether this is the best evaluation so far.
    epoch
        The number of evaluations so far.
    metrics
        In ``on_metrics`` and ``on_eval``: ``loss``, ``val_loss``, ``lr`` and the task's metrics, by name.
    stopped
        In ``on_end``: the reason as in :class:`Result`, or "failed" if an error ended the run.
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
    """Result of a run. ``stopped`` is the reason: "steps", "seconds", "patience", "interrupted" or "callback".

    Losses are in nats per token.
    """

    step: int
    seconds: float
    best_val_loss: float | None
    best_step: int | None
    stopped: str
