"""The function :func:`fit`, which trains a model on examples, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from .. import optim
from .._core import checks
from ..console import note
from ..distributed.agreement import require_same
from ..distributed.communicator import SOLO, Communicator
from ..distributed.world import world
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
    """Training task of a model and its examples; a :class:`fastrnn.training.Task`.

    Epoch e (from 0) reads ``train.batches(batch_size, numpy.random.default_rng([seed, e]))``. The model's dropout draws from
    one generator, whose state is saved with the position.
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
        self.lr = lr  # at the start of the run; None if the caller passed an optimizer, which has its own
        self.steps_per_epoch = -(-len(train) // self.batch_size)
        self._position = 0  # batches returned so far
        self._order: tuple[int, list[Any]] = (-1, [])  # an epoch and its shuffled batches
        self._means = Means()
        self._backward_options: dict[str, bool] | None = None  # unknown before the first step

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of all metrics of an evaluation."""
        names = self.objective.names(self.train)
        held_out = [f"val_{name}" for name in names] if self.validation is not None else []
        return (*names, *held_out, "lr")

    def train_step(self) -> tuple[float, int]:
        """Run forward and backward on the next batch; return the mean loss and the number of unmasked positions."""
        batch, counts = self._next()
        outputs, backward = self.model.forward(*batch.inputs, **keywords(self.model, batch))
        if self._backward_options is None:
            self._check_targets(outputs)
            # Skip the gradients of the inputs where the model can, because nothing uses them.
            self._backward_options = {"need_dx": False} if "need_dx" in signature(backward).parameters else {}
        means = self._means if counts else Means()
        across = (lambda own: self._across_ranks(own, counts)) if self.communicator.size > 1 else None
        value, gradients, count = self.objective(outputs, batch, means, across)
        backward(*gradients, **self._backward_options)
        return value, count if counts else 0

    def divide(self, communicator: Communicator) -> None:
        """Compute only this rank's examples of each batch; see :class:`fastrnn.training._run.ranks.DividedTask`."""
        self.divide_batches(communicator, self.batch_size, len(self.train), "examples")
        settings = {"training data": self._checksum, "seed": self.seed, "batch size": self.batch_size}
        require_same(communicator, settings)

    def _across_ranks(self, own: list[int], counts: bool) -> list[float]:
        """Return a factor for each output's loss, so that its average over ranks is the loss of the whole batch.

        Ranks are weighted by the largest of their numbers of positions, but each loss is a mean over its own positions.
        """
        shares = np.array([*own, max(own)], np.float64) * counts
        whole = shares.copy()
        self.communicator.allreduce(whole)
        weight = shares[-1] / whole[-1] if whole[-1] else 0.0
        return [
            float(share / total / weight) if share else 0.0 for share, total in zip(shares[:-1], whole[:-1], strict=True)
        ]

    def _next(self) -> tuple[Batch, bool]:
        """Return this rank's part of the next batch, and whether it counts."""
        epoch, place = divmod(self._position, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self.train.order(self.batch_size, np.random.default_rng([self.seed, epoch])))
        if place == 0:
            self._means = Means()
        self._position += 1
        whole = self._order[1][place]
        if self.communicator.size == 1:
            return self.train.batch(whole), True
        part = self.part(len(whole), self.train.longest(whole))
        batch = self.train.batch(whole[part.columns], whole)
        keywords(self.model, replace(batch, lengths=self.train.lengths(whole)))  # refuses padding that it would read
        return batch, part.counts

    def _check_targets(self, outputs: Any) -> None:
        for name, examples in (("train", self.train), ("validation", self.validation)):
            if examples is not None:
                check_class_ids(examples, outputs, self.objective.loss, name)

    def evaluate(self) -> dict[str, float]:
        """Return the metrics of the epoch's training steps, and those of the validation examples under ``val_<name>``."""
        values = self.objective.values(self._means.over_ranks(self.communicator))
        if self.validation is not None:
            means = measure("validation", self.model, self.validation, self.objective, self.batch_size, self.communicator)
            values |= self.objective.values(means, "val_")
        return values

    @cached_property
    def _checksum(self) -> list[int]:
        """The checksum of each field of the training examples, by which a resumed run recognises them."""
        return [field.checksum() for field in (*self.train.inputs, *self.train.targets)]

    def state_dict(self) -> dict[str, Any]:
        """Return the position, the random state, the epoch's sums, and the settings that a resumed run must repeat."""
        return {
            "position": self._position,
            **super().state_dict(),
            "sums": self._means.over_ranks(self.communicator).sums,
            **{name: getattr(self, name) for name in ("seed", "batch_size")},
            "examples": len(self.train),
            "lr": self.lr,
            "checksum": self._checksum,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`. Raises KeyError or ValueError if it belongs to another run."""
        for name, mine in (("seed", self.seed), ("batch_size", self.batch_size), ("examples", len(self.train))):
            if state[name] != mine:
                raise ValueError(f"{name} was {state[name]} and is {mine}")
        if state["checksum"] != self._checksum:
            raise ValueError("train must hold the examples that the run began with, got others")
        if None not in (self.lr, state["lr"]) and self.lr != state["lr"]:
            raise ValueError(f"lr was {state['lr']} and is {self.lr}")
        self._position = checks.positive_int("position", state["position"], 0)
        super().load_state_dict(state)
        self._means = Means(state["sums"] if self.communicator.rank == 0 else None)


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
    distributed: bool | Communicator = False,
) -> History:
    """Train a model in place on examples and return the metrics of each epoch.

    Epoch e (from 0) reads ``train.batches(batch_size, numpy.random.default_rng([seed, e]))``, and the model's dropout draws
    from ``numpy.random.default_rng(seed)``, so the same seed gives the same bits. Ctrl-C ends the run after the current
    step.

    Parameters
    ----------
    model
        Any layer.
    train, validation
        The examples to train on, and those to evaluate after each epoch.
    loss
        ``"softmax_cross_entropy"``, ``"sigmoid_binary_cross_entropy"``, ``"mean_squared_error"``, ``"crf_nll"``, or a
        function ``loss(outputs, targets, mask) -> (mean, gradient)``. A model of several outputs takes a tuple, one loss for
        each, or one name for all. Padding never counts.
    metrics
        ``"accuracy"``, ``"binary_accuracy"``, ``"mean_absolute_error"``, or functions
        ``metric(outputs, targets, mask) -> mean``, or a dict of these by name. Means over batches are weighted by the number
        of unmasked positions in each.
    optimizer
        ``"sgd"``, ``"rmsprop"``, ``"adam"``, ``"adamw"``, ``"muon"``, or an :class:`fastrnn.optim.Optimizer` with its own
        learning rate.
    lr
        The learning rate of an optimiser given by name, 1e-3 by default.
    schedule
        The factor that multiplies the learning rate at each step: the name of a schedule of
        :mod:`fastrnn.training.schedules`, which is then spread over all steps, or a function.
    epochs, batch_size
        The number of epochs, and of examples in a batch.
    clip_norm, clip_value
        The largest norm of all gradients together, and the largest absolute value of each; None does not clip.
    loss_weights
        The weight of each of several losses in their sum.
    max_seconds
        The time limit in seconds; None means no limit.
    callbacks
        :class:`EarlyStopping`, :class:`ReduceLROnPlateau`, :class:`ModelCheckpoint`, :class:`CSVLogger` or
        :class:`ProgressBar` of :mod:`fastrnn.training`, or your own: see :class:`fastrnn.training.Trainer`.
    seed
        The seed of all random numbers except the initial weights.
    out
        A folder. After each epoch the run writes ``metrics.csv``, ``last.safetensors`` and, if ``val_loss`` is the best so
        far, ``best.safetensors``.
    resume
        Continue the run in ``out`` if there is one, bit for bit as if it had not stopped. It must have the same examples,
        ``batch_size``, ``seed`` and ``lr``.
    overwrite
        Replace the run in ``out``.
    distributed
        Divide each batch of ``batch_size`` examples among the processes that were started together, or among the ranks of
        a :class:`fastrnn.distributed.Communicator`. Each process makes the same call, with the same examples. All get rank
        0's weights at the start. Rank 0 alone calls ``callbacks`` and writes files.

    Returns
    -------
    History
        ``history["loss"]``, ``history["val_loss"]`` and so on, one value per epoch. ``history.stopped`` is
        ``"interrupted"`` after Ctrl-C.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it.
    NonFiniteLoss, NonFiniteGradient, NonFiniteWeight
        Training diverged; see :mod:`fastrnn.optim`.
    FileExistsError
        ``out`` holds another run.
    OSError
        ``out`` cannot be written.
    """
    if checks.flag("resume", resume) and checks.flag("overwrite", overwrite):
        raise ValueError("resume and overwrite must not both be True: an existing run is continued or replaced")
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
    if not callable(made):
        raise TypeError(f"schedule must be a name or a function of the step, got {checks.describe(schedule)}")
    ranks = _ranks(distributed)
    listening = (history, *callbacks) if ranks.rank == 0 else (history,)
    trainer = Trainer(task, _optimizer(model, optimizer, lr), made, config, out, listening, ranks)
    if resume:
        if out is None:
            raise ValueError("out must be the folder of the run to resume, got None")
        if (Path(out) / LAST).exists():
            trainer.resume()
    if trainer.run().stopped == "interrupted" and ranks.rank == 0:
        note(f"fastrnn: interrupted at step {history.step} of {steps}")
    return history


def _ranks(distributed: bool | Communicator) -> Communicator:
    if isinstance(distributed, bool):
        return world() if distributed else SOLO
    if not all(hasattr(distributed, name) for name in ("rank", "size", "iallreduce")):
        raise TypeError(f"distributed must be a bool or a Communicator, got {checks.describe(distributed)}")
    return distributed


def _optimizer(model: Layer, optimizer: Any, lr: float | None) -> optim.Optimizer:
    if isinstance(optimizer, optim.Optimizer):
        if lr is not None:
            raise ValueError(f"lr must be given to the optimizer itself, got lr={lr} and {type(optimizer).__name__}")
        return optimizer
    name = checks.choice("optimizer", optimizer, tuple(OPTIMIZERS))
    made: optim.Optimizer = OPTIMIZERS[name](model.named_parameters(), lr=DEFAULT_LR if lr is None else lr)
    return made
