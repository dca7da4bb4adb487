"""The arguments of the training loop: a task, and the configuration of when to stop, evaluate and clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .._core import checks

if TYPE_CHECKING:
    from .._core.parameter import Parameter


class Task(Protocol):
    """Protocol of what the loop trains: a model with its data."""

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return every parameter once, with its full name."""

    def train_step(self) -> tuple[float, int]:
        """Run forward and backward on the next batch, adding gradients.

        Returns the mean loss in nats per token, and the number of tokens.
        """

    def evaluate(self) -> float | Mapping[str, float]:
        """Return the held-out loss in nats per token, or metrics by name.

        The metrics include ``val_loss``, unless nothing is held out. The state of training must not change.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return everything else that the next step depends on, such as the data position and random states.

        It must be serialisable as JSON, except for arrays by name under ``"arrays"``.
        """

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`. Raises ValueError if it does not fit."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Configuration of the loop. Raises TypeError or ValueError for a value out of range.

    Attributes
    ----------
    max_steps, max_seconds
        The limits of the run, counted over all sessions of a resumed run; one of them may be None. The last evaluation comes
        after them.
    eval_every
        The number of steps between evaluations. None spreads ten or more evaluations over the run
        (:mod:`fastrnn.training._run.pace`).
    patience
        The number of evaluations without improvement after which the run stops.
    clip_norm, clip_value
        The limits of the gradients, which are clipped by value first, then by norm.
    overwrite
        Whether a fresh run may replace the files of another run.
    """

    max_steps: int | None
    eval_every: int | None
    max_seconds: float | None = None
    patience: int | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("max_steps", "eval_every", "patience"):
            if getattr(self, name) is not None:
                checks.positive_int(name, getattr(self, name))
        for name in ("max_seconds", "clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                checks.number(name, getattr(self, name), 0.0, open_low=True)
        if self.max_steps is None and self.max_seconds is None:
            raise ValueError("max_seconds must be given where max_steps is None, got None")
