"""``fit``: a model trained on examples, epoch by epoch, by the training loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from .. import optim
from .._core import checks
from ..console import note
from ..layers.base import Layer
from ..serialization import PathLike
from . import schedules
from ._data.examples import Batch, Examples, laid_out
from ._data.output_axes import keywords
from ._data.targets import check_counted, check_steps
from ._run import listeners
from ._run.model_task import ModelTask
from ._run.options import OPTIMIZERS
from .history import History
from .inference import measure
from .loop import LAST, Trainer
from .objectives import Means, Objective, check_class_ids
from .schedules import Schedule
from .task import LoopConfig

DEFAULT_LR = 1e-3


class ExamplesTask(ModelTask):
    """A model with its examples; a :class:`fastrnn.training.Task`.

    Epoch e (from 0) goes through ``train.batches(batch_size, numpy.random.default_rng([seed, e]))``; the model's
    dropout draws from one generator, whose state is saved with the position.
    """

    def __init__(
        self,
        model: Layer,
        train: Examples,
        validation: Examples | None,
        objective: Objective,
        batch_size: int,
        seed: int,
        lr: float | None = None,
    ) -> None:
        self.batch_size = checks.positive_int("batch_size", batch_size)
        self.seed = checks.positive_int("seed", seed, smallest=0)
        super().__init__(model, np.random.default_rng(seed))
        self.objective, self.train, self.validation = objective, train, validation
        self.lr = lr  # that a run began with; None where it is the business of an optimizer that was given
        self.steps_per_epoch = -(-len(train) // self.batch_size)
        self._position = 0  # batches given so far
        self._order: tuple[int, list[Any]] = (-1, [])  # the epoch that is shuffled, and its batches
        self._means = Means()
        self._backward_options: dict[str, bool] | None = None  # not known before the first step

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The names of all figures that an evaluation has."""
        names = self.objective.names(self.train)
        held_out = [f"val_{name}" for name in names] if self.validation is not None else []
        return (*names, *held_out, "lr")

    def train_step(self) -> tuple[float, int]:
        """Forward and backward over the next batch: the mean loss, and how many positions counted."""
        batch = self._next()
        outputs, backward = self.model.forward(*batch.inputs, **keywords(self.model, batch))
        if self._backward_options is None:
            self._check_targets(outputs)
            # Nobody wants the inputs' gradients: a backward that can leave them out is told to.
            self._backward_options = {"need_dx": False} if "need_dx" in signature(backward).parameters else {}
        value, gradients, count = self.objective(outputs, batch, self._means)
        backward(*gradients, **self._backward_options)
        return value, count

    def _next(self) -> Batch:
        epoch, place = divmod(self._position, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self.train.order(self.batch_size, np.random.default_rng([self.seed, epoch])))
        if place == 0:
            self._means = Means()
        self._position += 1
        return self.train.batch(self._order[1][place])

    def _check_targets(self, outputs: Any) -> None:
        for name, examples in (("train", self.train), ("validation", self.validation)):
            if examples is not None:
                check_class_ids(examples, outputs, self.objective.loss, name)

    def evaluate(self) -> dict[str, float]:
        """The figures of the epoch as it was trained, and with ``val_`` before them those of the examples held out."""
        figures = self.objective.figures(self._means)
        if self.validation is not None:
            means = measure("validation", self.model, self.validation, self.objective, self.batch_size)
            figures |= self.objective.figures(means, "val_")
        return figures

    @cached_property
    def _checksum(self) -> list[int]:
        """By which the examples to train on are known again."""
        return [field.checksum() for field in (*self.train.inputs, *self.train.targets)]

    def state_dict(self) -> dict[str, Any]:
        """Position, random state, the sums of the epoch, and what a run must keep to."""
        return {
            "position": self._position,
            **super().state_dict(),
            "sums": self._means.sums,
            **{name: getattr(self, name) for name in ("seed", "batch_size")},
            "examples": len(self.train),
            "lr": self.lr,
            "checksum": self._checksum,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken. Raises KeyError or ValueError for another run's."""
        for name, mine in (("seed", self.seed), ("batch_size", self.batch_size), ("examples", len(self.train))):
            if state[name] != mine:
                raise ValueError(f"{name} was {state[name]} and is {mine}")
        if state["checksum"] != self._checksum:
            raise ValueError("train must hold the examples that the run began with, got others")
        if None not in (self.lr, state["lr"]) and self.lr != state["lr"]:
            raise ValueError(f"lr was {state['lr']} and is {self.lr}")
        self._position = checks.positive_int("position", state["position"], 0)
        super().load_state_dict(state)
        self._means = Means(state["sums"])


def fit(
    model: Layer,
    train: Examples,
    *,
    loss: Any = "softmax_cross_entropy",
    metrics: Any = (),
    validation: Examples | None = None,
    optimizer: str | optim.Optimizer = "adam",
    lr: float | None = None,
    schedule: str | Schedule = "constant",
    epochs: int = 10,
    batch_size: int = 32,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    loss_weights: Sequence[float] | None = None,
    max_seconds: float | None = None,
    callbacks: Iterable[object] = (),
    seed: int = 0,
    out: PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> History:
    """Train a model on examples; what each epoch came to, ``history["loss"]``, ``["val_loss"]`` and so on, is returned.

    ``loss``
        ``"softmax_cross_entropy"``, ``"sigmoid_binary_cross_entropy"``, ``"mean_squared_error"``, or a function
        ``loss(outputs, targets, mask) -> (mean, gradient)``. For a model of several outputs a tuple, one for each, or
        one name for all; their sum, with ``loss_weights``, is the loss. Padding never counts.
    ``metrics``
        ``"accuracy"``, ``"binary_accuracy"``, ``"mean_absolute_error"`` or functions ``metric(outputs, targets, mask)
        -> mean``, or functions by name. Means over batches are weighted by what counts in each.
    ``optimizer``, ``lr``, ``schedule``
        ``"sgd"``, ``"rmsprop"``, ``"adam"`` or ``"adamw"`` with ``lr`` (1e-3), or an :class:`fastrnn.optim.Optimizer`
        with its own. The rate is multiplied by a schedule of :mod:`fastrnn.training.schedules`, by name over all
        steps or as a function.
    ``callbacks``
        :class:`EarlyStopping`, :class:`ReduceLROnPlateau`, :class:`ModelCheckpoint`, :class:`CSVLogger`,
        :class:`ProgressBar` of :mod:`fastrnn.training`, or your own: see :class:`fastrnn.training.Trainer`.
    ``out``, ``resume``, ``overwrite``
        A folder for ``last.safetensors`` and ``best.safetensors`` (of ``val_loss``), all that the run needs to go on, and
        ``metrics.csv``, written after each epoch. With ``resume`` a run that is there goes on, bit for bit as if it had not
        stopped, if it is of these examples, ``batch_size``, ``seed`` and ``lr``; with ``overwrite`` it gives way.

    The model is trained in place. Epoch e (from 0) is ``train.batches(batch_size, numpy.random.default_rng([seed,
    e]))``, and the model's dropout draws from ``numpy.random.default_rng(seed)``: the same seed gives the same bits.
    Ctrl-C ends the run after the step, and ``history.stopped`` is ``"interrupted"``. Raises TypeError or ValueError
    naming the argument, :class:`fastrnn.optim.NonFiniteGradient`, ``NonFiniteLoss`` or ``NonFiniteWeight``,
    FileExistsError when ``out`` holds another run, OSError.
    """
    if checks.flag("resume", resume) and checks.flag("overwrite", overwrite):
        raise ValueError("resume and overwrite must not both be True: a run that is there goes on or gives way")
    callbacks = listeners.checked(callbacks)
    train = laid_out("train", train, model)
    validation = None if validation is None else laid_out("validation", validation, model)
    objective = Objective(loss, metrics, loss_weights)
    for name, examples in (("train", train), ("validation", validation)):
        if examples is not None and not examples.targets:
            raise ValueError(f"{name} must have targets, got examples without")
        if examples is not None:
            check_counted(name, examples)
            check_steps(name, model, examples, objective.loss)
    own_lr = None if isinstance(optimizer, optim.Optimizer) else DEFAULT_LR if lr is None else lr
    task = ExamplesTask(model, train, validation, objective, batch_size, seed, own_lr)
    steps = checks.positive_int("epochs", epochs) * task.steps_per_epoch
    config = LoopConfig(
        max_steps=steps,
        eval_every=task.steps_per_epoch,
        max_seconds=max_seconds,
        clip_norm=clip_norm,
        clip_value=clip_value,
        overwrite=overwrite,
    )
    history = History()
    made = schedules.make(schedule, total_steps=steps) if isinstance(schedule, str) else schedule
    trainer = Trainer(task, _optimizer(model, optimizer, lr), made, config, out, (history, *callbacks))
    if resume:
        if out is None:
            raise ValueError("out must be the folder of the run to resume, got None")
        if (Path(out) / LAST).exists():
            trainer.resume()
    if trainer.run().stopped == "interrupted":
        note(f"fastrnn: interrupted at step {history.step} of {steps}")
    return history


def _optimizer(model: Layer, optimizer: Any, lr: float | None) -> optim.Optimizer:
    if isinstance(optimizer, optim.Optimizer):
        if lr is not None:
            raise ValueError(f"lr must be given to the optimizer itself, got lr={lr} beside {type(optimizer).__name__}")
        return optimizer
    name = checks.choice("optimizer", optimizer, tuple(OPTIMIZERS))
    made: optim.Optimizer = OPTIMIZERS[name](model.named_parameters(), lr=DEFAULT_LR if lr is None else lr)
    return made
