"""What the training loop is given: a task, and when to stop, to evaluate and to clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .._core import checks

if TYPE_CHECKING:
    from .._core.parameter import Parameter


class Task(Protocol):
    """A model with its data: what the loop trains."""

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Every parameter once, by its full name."""

    def train_step(self) -> tuple[float, int]:
        """Run forward and backward on the next batch, adding gradients; (mean loss in nats per token, tokens)."""

    def evaluate(self) -> float | Mapping[str, float]:
        """The held-out loss in nats per token, or figures by name, ``val_loss`` among them (none held out: it is missing).

        Must not disturb the state of training.
        """

    def state_dict(self) -> dict[str, Any]:
        """All else that the next step depends on (data position, random states): JSON-able, arrays under "arrays"."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`. Raises ValueError when it does not fit."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """When to stop, when to evaluate, how to clip gradients. Raises TypeError or ValueError for a value out of range.

    ``max_steps`` and ``max_seconds`` count over all sittings of a resumed run (the last evaluation comes after them);
    one of them may be None. ``patience`` is the number of evaluations without improvement after which to stop.
    ``eval_every`` is in steps; None spreads evaluations over the run, ten or more of them
    (:mod:`fastrnn.training._run.pace`). Gradients are clipped by value first, then by norm. ``overwrite``: a fresh run may
    replace another run's files.
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
