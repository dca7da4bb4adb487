"""Options that runs of all kinds share, and the optimiser, schedule and trainer made from them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from ..._core import checks
from ...backends.structs import CELLS
from ...distributed.communicator import SOLO, Communicator
from ...optim import SGD, Adam, AdamW, Muon, Optimizer, RMSprop
from .. import schedules
from ..loop import Trainer
from ..task import LoopConfig, Task

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW, "muon": Muon}

# sgd needs a learning rate of another order of magnitude than methods that scale each element.
DEFAULT_LR = {"sgd": 0.5, "rmsprop": 2e-3, "adam": 3e-3, "adamw": 3e-3, "muon": 8e-3}
DEFAULT_WEIGHT_DECAY = {"adamw": 0.01, "muon": 0.1}
SGD_MOMENTUM = 0.9
MAX = sys.float_info.max

# Valid ranges. SMALLEST: least value of an integer. REALS: a number from 0 to the largest value; True excludes 0 itself.
SMALLEST = {
    "hidden": 1, "batch": 1, "seq_length": 1, "max_steps": 1, "eval_every": 1, "layers": 1, "embedding": 0, "warmup": 0,
    "seed": 0,
}  # fmt: skip
REALS = {
    "dropout": (1.0, False), "lr": (MAX, True), "weight_decay": (MAX, False), "val_fraction": (1.0, True),
    "clip_norm": (MAX, True), "clip_value": (MAX, True), "max_seconds": (MAX, True),
}  # fmt: skip
OPTIONAL = ("clip_norm", "clip_value", "max_seconds", "max_steps", "eval_every")
CHOICES = {"model": CELLS, "optimizer": tuple(OPTIMIZERS), "schedule": schedules.NAMES}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run, named as on the command line.

    ``max_seconds``, ``patience``, ``clip_norm`` and ``clip_value`` are None for no limit. If ``max_steps`` is None,
    ``max_seconds`` determines the end and the shape of the schedule. If ``eval_every`` is None, evaluations are spread over
    the run. Raises TypeError or ValueError naming the option.
    """

    kind: ClassVar[str]
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]]  # by the reading of the data

    hidden: int
    batch: int
    seq_length: int
    dropout: float
    lr: float
    weight_decay: float
    max_steps: int | None
    eval_every: int | None
    model: str = "lstm"
    layers: int = 2
    # 0 means one-hot vectors: W x then starts so small that training makes no progress for 100 to 200 steps.
    embedding: int = 64
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: int = 100
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    val_fraction: float = 0.1
    max_seconds: float | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, smallest in SMALLEST.items():
            if name not in OPTIONAL or getattr(self, name) is not None:
                checks.positive_int(name, getattr(self, name), smallest)
        for name, allowed in CHOICES.items():
            checks.choice(name, getattr(self, name), allowed)
        for name, (high, open_low) in REALS.items():
            if name not in OPTIONAL or getattr(self, name) is not None:
                checks.number(name, getattr(self, name), 0.0, high, open_low=open_low)
        if self.patience is not None:
            checks.positive_int("patience", self.patience)
        if self.max_steps is None and self.max_seconds is None:
            raise ValueError("max_seconds must be given where max_steps is None, got None")

    def read_vocabulary(self, value: Any) -> Any:
        """Return the vocabulary of this kind from its ``to_json()``. Raises TypeError or ValueError."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return the options by name, as ``config.json`` stores them."""
        return asdict(self)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(field.name for field in fields(cls))

    @property
    def warmup_steps(self) -> int:
        """The steps of the warm-up: at most a tenth of ``max_steps``, if that is given."""
        return self.warmup if self.max_steps is None else min(self.warmup, self.max_steps // 10)


def defaults_of(optimizer: str) -> dict[str, float]:
    """Return an optimiser's default learning rate and weight decay. Raises ValueError."""
    checks.choice("optimizer", optimizer, tuple(OPTIMIZERS))
    return {"lr": DEFAULT_LR[optimizer], "weight_decay": DEFAULT_WEIGHT_DECAY.get(optimizer, 0.0)}


def make_optimizer(options: RunOptions, params: Any) -> Optimizer:
    """Return the optimiser that the options describe."""
    extra = {"momentum": SGD_MOMENTUM} if options.optimizer == "sgd" else {}
    kind: Any = OPTIMIZERS[options.optimizer]
    optimizer: Optimizer = kind(params, lr=options.lr, weight_decay=options.weight_decay, **extra)
    return optimizer


def make_schedule(options: RunOptions) -> schedules.Schedule | schedules.TimedSchedule:
    """Return the learning-rate schedule that the options describe, over time if there is no limit of steps."""
    if options.max_steps is None:
        return schedules.make_timed(options.schedule, warmup=options.warmup)
    return schedules.make(options.schedule, total_steps=options.max_steps, warmup=options.warmup_steps)


def trainer_of(
    task: Task, options: RunOptions, out: Path | None, overwrite: bool, communicator: Communicator = SOLO
) -> Trainer:
    """Return a trainer with the optimiser, schedule and limits that the options describe."""
    config = LoopConfig(
        max_steps=options.max_steps,
        eval_every=options.eval_every,
        max_seconds=options.max_seconds,
        patience=options.patience,
        clip_norm=options.clip_norm,
        clip_value=options.clip_value,
        overwrite=overwrite,
    )
    optimizer = make_optimizer(options, task.named_parameters())
    return Trainer(task, optimizer, make_schedule(options), config, out, communicator=communicator)


def reshaped(before: RunOptions, after: RunOptions, step: int) -> str | None:
    """Return the name of the limit whose change alters the learning rates after ``step``, or None."""
    timed = before.max_steps is None, after.max_steps is None
    name = "max_seconds" if all(timed) else "max_steps"
    if getattr(before, name) == getattr(after, name):
        return None
    warmups = before.warmup_steps, after.warmup_steps
    same = after.schedule == "constant" and (warmups[0] == warmups[1] or step >= max(warmups))
    return None if same and not any(timed) else name
