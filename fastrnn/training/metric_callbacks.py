"""Callbacks that watch one figure of a run, under Keras' names: they stop it, slow it down, or keep its best weights.

Where an option has Keras' name it means what it means there. They work with :func:`fastrnn.fit` and with any
:class:`Trainer`, and go on where a resumed run left them.
"""

from __future__ import annotations

import math
import os
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
    """Watches the figure ``monitor``; an evaluation is better when it beats the best one by more than ``min_delta``.

    ``mode`` is ``"min"``, ``"max"``, or ``"auto"``: by the name. NaN is never better. Raises TypeError or ValueError.
    """

    # What is saved with the run, and what it starts from.
    fresh: dict[str, Any]

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a figure, got {checks.describe(monitor)}")
        self.monitor = monitor
        self.mode = _direction(monitor, checks.choice("mode", mode, MODES))
        self.min_delta = checks.number("min_delta", min_delta, 0.0)
        self.best = math.inf if self.mode == "min" else -math.inf
        self.fresh = {"best": self.best}
        self._trainer: Trainer | None = None

    def on_begin(self, trainer: Trainer) -> None:
        """Forget another run. Raises ValueError where it can be told already that the figure will be missing."""
        self._trainer = trainer
        names = getattr(trainer.task, "figure_names", None)
        if names is not None:
            self._check(names)
        if trainer.state.step == 0:
            self.load_state_dict({**self.fresh, "arrays": {}})

    def _check(self, names: Any) -> None:
        if self.monitor not in names:
            hint = ": it needs validation data" if self.monitor.startswith("val_") else ""
            raise ValueError(f"monitor must be one of {', '.join(map(repr, names))}, got {self.monitor!r}{hint}")

    def is_better(self, info: Info) -> bool:
        """Whether this evaluation is better than the best one; then it is the best one."""
        self._check(info.metrics)
        value = info.metrics[self.monitor]
        better = value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta
        if better:
            self.best = value
        return better

    def state_dict(self) -> dict[str, Any]:
        """What is saved with the run."""
        return {name: getattr(self, name) for name in self.fresh}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
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
    """Stops a run when the figure has not got better for ``patience`` evaluations in a row.

    ``restore_best_weights``: however the run ends, but for an error, the model has the weights of the best evaluation then.
    ``start_from_epoch``: evaluations up to this one are passed over.
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
        """Count, and keep the weights."""
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
        """The count, and the best weights."""
        return {**super().state_dict(), "arrays": self._best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.stop_training &= self.wait >= self.patience  # a run may go on with more of it
        self._best_weights = dict(state["arrays"])


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by ``factor`` when the figure has not got better for ``patience`` evaluations.

    After that ``cooldown`` evaluations are not counted. The rate that a schedule multiplies never falls below ``min_lr``.
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
        """Count, and lower the rate."""
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
    """Saves the model after every evaluation, or (``save_best_only``) after every one that is the best so far.

    ``filepath`` may have figures in it: ``"model-{epoch:02d}-{val_loss:.3f}.safetensors"``. The model's own
    ``save(path)`` does it (weights, and what a ``Model`` is built of); without one the weights are written. Raises
    OSError naming the file, and ValueError for a figure in ``filepath`` that there is not.
    """

    def __init__(
        self, filepath: PathLike, monitor: str = "val_loss", save_best_only: bool = False, mode: str = "auto"
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.filepath = os.fspath(filepath)
        self.save_best_only = checks.flag("save_best_only", save_best_only)

    def _check(self, names: Any) -> None:
        if self.save_best_only:  # otherwise nothing depends on the figure
            super()._check(names)

    def on_metrics(self, info: Info) -> None:
        """Save."""
        if not self.save_best_only or self.is_better(info):
            self._save(self._path(info))

    def _path(self, info: Info) -> Path:
        try:
            return Path(self.filepath.format(epoch=info.epoch, **info.metrics))
        except (KeyError, IndexError) as error:
            known = ", ".join(["epoch", *info.metrics])
            raise ValueError(f"filepath must have figures of these in it: {known}; got {self.filepath!r}") from error

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
