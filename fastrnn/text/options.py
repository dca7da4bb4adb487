"""The options of training a language model on characters or words, and their defaults for the two readings of text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from .. import checks
from ..optim import SGD, Adam, AdamW, Optimizer, RMSprop
from ..training import schedules
from .char_model import MODELS
from .reading import READINGS

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW}

# Learning rates of sgd are of another order than those of the methods that scale each element.
DEFAULT_LR = {"sgd": 0.5, "rmsprop": 2e-3, "adam": 3e-3, "adamw": 3e-3}
DEFAULT_WEIGHT_DECAY = {"adamw": 0.01}
SGD_MOMENTUM = 0.9
UNK_MIN_COUNT = 2  # with 1, no character of the text is <UNK>, whose weights would stay random
MAX = sys.float_info.max

CHAR_DEFAULTS: dict[str, dict[str, Any]] = {
    # Items are few and short: a small model, much dropout, and an end before it knows them by heart.
    "lines": {"hidden": 128, "batch": 32, "seq_length": 256, "max_steps": 1000, "eval_every": 100, "dropout": 0.5},
    "stream": {"hidden": 256, "batch": 64, "seq_length": 128, "max_steps": 3000, "eval_every": 250, "dropout": 0.2},
}
# Words are many and each is seen seldom: it is dropout that keeps a model from knowing the text by heart.
WORD_DEFAULTS: dict[str, dict[str, Any]] = {
    "lines": {"hidden": 256, "batch": 32, "seq_length": 128, "max_steps": 2000, "eval_every": 200, "dropout": 0.4},
    "stream": {"hidden": 256, "batch": 32, "seq_length": 35, "max_steps": 2000, "eval_every": 200, "dropout": 0.4},
}

# What the options may be: integers by the smallest; reals from 0 by the largest and whether 0 itself is left out.
SMALLEST = {
    "hidden": 1, "batch": 1, "seq_length": 1, "max_steps": 1, "eval_every": 1, "layers": 1, "embedding": 0, "warmup": 0,
    "seed": 0, "min_count": 1, "vocabulary_size": 1,
}  # fmt: skip
REALS = {
    "dropout": (1.0, False), "lr": (MAX, True), "weight_decay": (MAX, False), "val_fraction": (1.0, True),
    "clip_norm": (MAX, True), "clip_value": (MAX, True), "max_seconds": (MAX, True),
}  # fmt: skip
OPTIONAL = ("clip_norm", "clip_value", "max_seconds")
CHOICES = {"reading": READINGS, "model": tuple(MODELS), "optimizer": tuple(OPTIMIZERS), "schedule": schedules.NAMES}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What a run is made from, apart from its text; the names are those of the command line's options.

    ``seq_length`` is the chunk of truncated backpropagation in a stream, and the longest item of lines.
    ``max_seconds``, ``patience``, ``clip_norm`` and ``clip_value`` are None for none. Raises TypeError or ValueError naming
    the option.
    """

    kind: ClassVar[str] = "chars"
    defaults: ClassVar[dict[str, dict[str, Any]]] = CHAR_DEFAULTS

    reading: str
    hidden: int
    batch: int
    seq_length: int
    dropout: float
    lr: float
    weight_decay: float
    max_steps: int
    eval_every: int
    model: str = "lstm"
    layers: int = 2
    # With 0, one-hot vectors, W x starts so small that training stands still for its first 100 to 200 steps.
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
    unk: bool = False
    min_count: int = 1

    def __post_init__(self) -> None:
        for name, smallest in SMALLEST.items():
            if name in self.names():
                checks.positive_int(name, getattr(self, name), smallest)
        for name, allowed in CHOICES.items():
            checks.choice(name, getattr(self, name), allowed)
        for name, (high, open_low) in REALS.items():
            if name not in OPTIONAL or getattr(self, name) is not None:
                checks.number(name, getattr(self, name), 0.0, high, open_low=open_low)
        if self.patience is not None:
            checks.positive_int("patience", self.patience)
        checks.flag("unk", self.unk)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all options."""
        return tuple(field.name for field in fields(cls))

    @property
    def warmup_steps(self) -> int:
        """The steps of the warm-up: at most a tenth of all."""
        return min(self.warmup, self.max_steps // 10)

    def to_json(self) -> dict[str, Any]:
        """All of them by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainOptions:
        """From :meth:`to_json`. Raises TypeError for other names, TypeError or ValueError for other values."""
        return cls(**value)


@dataclass(frozen=True, kw_only=True)
class WordOptions(TrainOptions):
    """Those of a model over words: the ``vocabulary_size`` most frequent ones that occur ``min_count`` times or more.

    All others are ``<UNK>``, which is always there. Text is lower-cased unless ``keep_case``.
    """

    kind: ClassVar[str] = "words"
    defaults: ClassVar[dict[str, dict[str, Any]]] = WORD_DEFAULTS

    layers: int = 1  # tinyshakespeare: 91.7 a word held out, 99.6 with 2 and a dropout of 0.5, in the same steps
    embedding: int = 256
    unk: bool = True
    min_count: int = UNK_MIN_COUNT
    vocabulary_size: int = 10_000
    keep_case: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.flag("keep_case", self.keep_case)
        if not self.unk:
            raise ValueError(f"unk must be True for words, got {self.unk}")


KINDS: dict[str, type[TrainOptions]] = {options.kind: options for options in (TrainOptions, WordOptions)}


def make_options(reading: str, kind: str = "chars", **given: Any) -> TrainOptions:
    """The options for a reading: what is given, and the defaults for the rest. Raises TypeError or ValueError.

    ``kind`` is ``"chars"`` or ``"words"``. For characters a ``min_count`` above 1 implies ``unk``, and ``unk`` a
    ``min_count`` of 2.
    """
    checks.choice("reading", reading, READINGS)
    options = KINDS[checks.choice("kind", kind, tuple(KINDS))]
    optimizer = checks.choice("optimizer", given.get("optimizer", TrainOptions.optimizer), tuple(OPTIMIZERS))
    defaults: dict[str, Any] = {"lr": DEFAULT_LR[optimizer], "weight_decay": DEFAULT_WEIGHT_DECAY.get(optimizer, 0.0)}
    if given.get("unk"):
        defaults["min_count"] = UNK_MIN_COUNT
    elif given.get("min_count", 1) != 1:
        defaults["unk"] = True
    return options(**{**options.defaults[reading], **defaults, **given, "reading": reading})


def make_optimizer(options: TrainOptions, params: Any) -> Optimizer:
    """The optimiser that the options ask for."""
    extra = {"momentum": SGD_MOMENTUM} if options.optimizer == "sgd" else {}
    kind: Any = OPTIMIZERS[options.optimizer]
    optimizer: Optimizer = kind(params, lr=options.lr, weight_decay=options.weight_decay, **extra)
    return optimizer


def make_schedule(options: TrainOptions) -> schedules.Schedule:
    """The learning-rate schedule that the options ask for."""
    return schedules.make(options.schedule, total_steps=options.max_steps, warmup=options.warmup_steps)


def reshaped(before: TrainOptions, after: TrainOptions, step: int) -> bool:
    """Whether other learning rates follow after ``step`` because ``max_steps`` is another."""
    if before.max_steps == after.max_steps:
        return False
    warmups = before.warmup_steps, after.warmup_steps
    return after.schedule != "constant" or (warmups[0] != warmups[1] and step < max(warmups))
