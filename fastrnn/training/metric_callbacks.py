"""Callbacks that monitor one metric: they stop a run, lower its learning rate, or save its best weights.

Classes and options with Keras' names mean the same as in Keras. The callbacks work with :func:`fastrnn.fit` and with any
:class:`Trainer`, and a resumed run restores their state.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks
from ..serialization import PathLike, save_arrays
from ._run.run_state import Info

if TYPE_CHECKING:
    from .loop import Trainer

MODES = ("auto", "min", "max")
LARGER_IS_BETTER = ("acc", "f1", "auc", "precision", "recall", "bleu")
SMALLER_IS_BETTER = ("loss", "error", "perplexity", "entropy")


class Monitor:
    """Base of callbacks that monitor a metric; an evaluation improves if it beats the best by more than ``min_delta``.

    ``mode`` is ``"min"``, ``"max"``, or ``"auto"``, which decides by the metric's name. NaN never improves. Raises TypeError
    or ValueError.
    """

    fresh: dict[str, Any]  # attributes that are saved with the run, and their initial values

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a metric, got {checks.describe(monitor)}")
        self.monitor = monitor
        self.mode = _direction(monitor, checks.choice("mode", mode, MODES))
        self.min_delta = checks.number("min_delta", min_delta, 0.0)
        self.best = math.inf if self.mode == "min" else -math.inf
        self.fresh = {"best": self.best}
        self._trainer: Trainer | None = None

    def on_begin(self, trainer: Trainer) -> None:
        """Reset the state for a fresh run. Raises ValueError if the task is known not to produce the metric."""
        self._trainer = trainer
        names = getattr(trainer.task, "metric_names", None)
        if names is not None:
            self._check(names)
        if trainer.state.step == 0:
            self.load_state_dict({**self.fresh, "arrays": {}})

    def _check(self, names: Any) -> None:
        if self.monitor not in names:
            hint = ": it needs validation data" if self.monitor.startswith("val_") else ""
            raise ValueError(f"monitor must be one of {', '.join(map(repr, names))}, got {self.monitor!r}{hint}")

    def is_better(self, info: Info) -> bool:
        """Return whether this evaluation improves on the best one; if so, record it as the best."""
        self._check(info.metrics)
        value = info.metrics[self.monitor]
        better = value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta
        if better:
            self.best = value
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return the attributes to save with the run."""
        return {name: getattr(self, name) for name in self.fresh}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a :meth:`state_dict`."""
        for name in self.fresh:
            setattr(self, name, state[name])


def _direction(monitor: str, mode: str) -> str:
    if mode != "auto":
        return mode
    if any(word in monitor for word in SMALLER_IS_BETTER):
        return "min"
    if any(word in monitor for word in LARGER_IS_BETTER):
        return "max"
    raise ValueError(f"mode must be 'min' or 'max' for monitor={monitor!r}: its name does not tell, got 'auto'")


class EarlyStopping(Monitor):
    """Callback that stops a run if the metric has not improved for ``patience`` evaluations in a row.

    With ``restore_best_weights`` the model has the weights of the best evaluation at the end, unless the run failed with an
    error. Evaluations up to ``start_from_epoch`` are ignored.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = checks.positive_int("patience", patience, smallest=0)
        self.restore_best_weights = checks.flag("restore_best_weights", restore_best_weights)
        self.start_from_epoch = checks.positive_int("start_from_epoch", start_from_epoch, smallest=0)
        self.wait, self.best_epoch, self.stopped_epoch = 0, 0, 0
        self.stop_training = False
        self.fresh |= {"wait": 0, "best_epoch": 0, "stopped_epoch": 0, "stop_training": False}
        self._best_weights: dict[str, NDArray[Any]] = {}

    def on_metrics(self, info: Info) -> None:
        """Count evaluations without improvement; copy the weights of an improved one."""
        if info.epoch <= self.start_from_epoch:
            return
        if self.is_better(info):
            self.wait, self.best_epoch = 0, info.epoch
            if self.restore_best_weights:
                self._best_weights = {name: data.copy() for name, data in _weights(self._trainer).items()}
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch, self.stop_training = info.epoch, True

    def on_end(self, info: Info) -> None:
        """Give the model its best weights."""
        if self._trainer is None or info.stopped == "failed" or not self._best_weights:
            return
        for name, param in self._trainer.task.named_parameters():
            param.assign(self._best_weights[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the best weights."""
        return {**super().state_dict(), "arrays": self._best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a :meth:`state_dict`."""
        super().load_state_dict(state)
        self.stop_training &= self.wait >= self.patience  # because a run may be resumed with more patience
        self._best_weights = dict(state["arrays"])


class ReduceLROnPlateau(Monitor):
    """Callback that multiplies the learning rate by ``factor`` if the metric has not improved for ``patience`` evaluations.

    The next ``cooldown`` evaluations are then not counted. The base rate, which a schedule multiplies, never falls below
    ``min_lr``.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = checks.number("factor", factor, 0.0, 1.0)
        if self.factor == 1:
            raise ValueError(f"factor must be below 1, got {factor}")
        self.patience = checks.positive_int("patience", patience, smallest=0)
        self.cooldown = checks.positive_int("cooldown", cooldown, smallest=0)
        self.min_lr = checks.number("min_lr", min_lr, 0.0)
        self.wait, self.cooldown_left = 0, 0
        self.fresh |= {"wait": 0, "cooldown_left": 0}

    def on_metrics(self, info: Info) -> None:
        """Count evaluations without improvement; lower the rate if they are too many."""
        if self.cooldown_left:
            self.cooldown_left -= 1
            self.wait = 0
        if self.is_better(info):
            self.wait = 0
        elif not self.cooldown_left:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce()

    def _reduce(self) -> None:
        assert self._trainer is not None
        if self._trainer.base_lr > self.min_lr:
            self._trainer.base_lr = max(self._trainer.base_lr * self.factor, self.min_lr)
            self.cooldown_left, self.wait = self.cooldown, 0


class ModelCheckpoint(Monitor):
    """Callback that saves the model after every evaluation, or with ``save_best_only`` after every improved one.

    ``filepath`` may contain the epoch and metrics, as in ``"model-{epoch:02d}-{val_loss:.3f}.safetensors"``. The model's own
    ``save(path)`` writes the file: the weights, and the structure of a ``Model``. A model without ``save`` gets its weights
    written. Raises OSError naming the file, and ValueError if ``filepath`` contains an unknown metric or an invalid format.
    """

    def __init__(
        self, filepath: PathLike, monitor: str = "val_loss", save_best_only: bool = False, mode: str = "auto"
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.filepath = os.fspath(filepath)
        self.save_best_only = checks.flag("save_best_only", save_best_only)

    def _check(self, names: Any) -> None:
        if self.save_best_only:  # otherwise the metric does not matter
            super()._check(names)
        self._path(1, dict.fromkeys(names, 0.5))  # so that an invalid filepath does not cost an epoch

    def on_metrics(self, info: Info) -> None:
        """Save the model if it is due."""
        if not self.save_best_only or self.is_better(info):
            self._save(self._path(info.epoch, info.metrics))

    def _path(self, epoch: int, metrics: Mapping[str, float]) -> Path:
        try:
            return Path(self.filepath.format(epoch=epoch, **metrics))
        except (KeyError, IndexError) as error:
            known = ", ".join(["epoch", *metrics])
            raise ValueError(f"filepath must use only the names {known}, got {self.filepath!r}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"filepath must be a valid format, got {self.filepath!r}: {error}") from error

    def _save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        model: Any = getattr(self._trainer.task, "model", None) if self._trainer else None
        if hasattr(model, "save"):
            model.save(path)
        else:
            save_arrays(path, _weights(self._trainer))


def _weights(trainer: Trainer | None) -> dict[str, NDArray[np.floating[Any]]]:
    assert trainer is not None
    return {name: param.data for name, param in trainer.task.named_parameters()}
