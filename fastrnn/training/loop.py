"""The training loop: steps, evaluations, checkpoints, and a resume bit for bit as if the run had never stopped."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .._core import checks
from ..gradients import NonFiniteLoss, check_finite, check_finite_weights, clip_grad_norm, clip_grad_value, grad_norm
from . import checkpoint
from ._run import listeners, pace
from ._run import metrics_file as metrics
from ._run.interrupts import deferred_interrupt
from ._run.run_state import Info, Result, RunState, Window
from .checkpoint import CheckpointError
from .schedules import Schedule, TimedSchedule
from .task import LoopConfig, Task

if TYPE_CHECKING:
    from .._core.parameter import Parameter
    from ..optim import Optimizer

LAST, BEST, METRICS = "last.safetensors", "best.safetensors", "metrics.csv"


class Trainer:
    """Trains a task.

    The learning rate of step s (from 0) is ``optimizer.lr`` as it was given, times ``schedule(s)``; a
    :class:`schedules.TimedSchedule` also gets the share of ``max_seconds`` that is used. Every ``eval_every`` steps, and
    when the steps or the time are used up, the task is evaluated, a row is added to ``out/metrics.csv``, and
    ``out/last.safetensors`` (and ``out/best.safetensors`` when the loss improved) are written. A fresh run writes ``last``
    before its first step, so that a folder that cannot be written shows at once. With ``out=None`` nothing is written.

    ``callbacks`` are objects with any of the methods ``on_begin(trainer)`` (before anything is done or written),
    ``on_step(info)``, ``on_metrics(info)`` and ``on_eval(info)`` (of an evaluation: before and after the checkpoints
    are written) and ``on_end(info)`` (however the training ends); ``info`` is an :class:`Info`. One that sets its
    attribute ``stop_training`` ends the run. One with ``state_dict()`` and ``load_state_dict(state)``, as a task has,
    is saved and goes on with the run; what it changes in ``on_metrics`` is in that evaluation's checkpoints.
    Raises TypeError for one that has none of the methods.
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        schedule: Schedule | TimedSchedule,
        config: LoopConfig,
        out: str | os.PathLike[str] | None = None,
        callbacks: Sequence[object] = (),
    ) -> None:
        self.task, self.optimizer, self.schedule, self.config = task, optimizer, schedule, config
        self.out = None if out is None else Path(out)
        self.callbacks = listeners.checked(callbacks)
        self.state = RunState(base_lr=float(optimizer.lr), lr=float(optimizer.lr))
        self._all_params = task.named_parameters()
        self._params = self._optimized_params()
        self._resumed_from: Path | None = None
        self._owns_folder = False
        self._in_step = False
        self._clock_offset = 0.0
        self._evaluated_seconds = 0.0  # after a resume those of the checkpoint, which no evaluation was due after
        self._last_info = self._info(math.nan, math.nan)

    @property
    def base_lr(self) -> float:
        """The learning rate that the schedule multiplies; it may be set while the run goes on, and is saved with it."""
        return self.state.base_lr

    @base_lr.setter
    def base_lr(self, value: float) -> None:
        self.state = replace(self.state, base_lr=checks.number("base_lr", value, 0.0))

    def _optimized_params(self) -> list[tuple[str, Parameter]]:
        """The parameters that the optimiser updates, by the task's names."""
        optimized = {id(param): name for name, param in self.optimizer.named_params}
        named = [(name, param) for name, param in self._all_params if id(param) in optimized]
        foreign = set(optimized) - {id(param) for _, param in named}
        if foreign:
            raise ValueError(f"optimizer has a parameter that is not the task's: {optimized[foreign.pop()]}")
        return named

    def resume(self, path: str | os.PathLike[str] | None = None) -> None:
        """Take everything from a checkpoint, ``out/last.safetensors`` by default; :meth:`run` then goes on from there.

        Rows of ``metrics.csv`` after the checkpoint's step are dropped when the run goes on. The optimiser's
        hyperparameters and the base learning rate are the checkpoint's, the schedule and the config this trainer's.
        Raises OSError, and :class:`CheckpointError` naming the file when it is damaged or of another model, optimiser
        or task; the weights are then as before.
        """
        if path is None:
            if self.out is None:
                raise ValueError("path must be given when the trainer has no folder, got None")
            path = self.out / LAST
        loaded = checkpoint.load(path)
        checkpoint.check_fits(path, loaded.model, self._all_params)
        try:
            saved = loaded.state["trainer"]
            state = RunState(**{**saved, "window": Window(**saved["window"])})
            self.optimizer.load_state_dict(loaded.optimizer)
            theirs = listeners.unpack(loaded.state.get("callbacks", {}), loaded.state["arrays"])
            self.task.load_state_dict({**loaded.state["task"], "arrays": loaded.state["arrays"]})
            listeners.restore(self.callbacks, theirs)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} does not fit this run: {error}") from error
        for name, param in self._all_params:
            param.assign(loaded.model[name])
        self.optimizer.lr = state.base_lr
        self.state, self._resumed_from = state, Path(path)
        self._evaluated_seconds = state.seconds
        self._in_step = self._owns_folder = False
        self._last_info = self._info(math.nan, math.nan)

    def run(self) -> Result:
        """Train until the steps, the time or the patience are used up, or Ctrl-C.

        The first Ctrl-C lets the step finish and saves ``last``; the second stops at once, and what was saved before
        stays as it is. Raises :class:`fastrnn.optim.NonFiniteGradient`, ``NonFiniteLoss`` or ``NonFiniteWeight`` (the last
        good checkpoint stays), FileExistsError when ``out`` holds another run, OSError when it cannot be written.
        """
        if self._in_step:
            raise RuntimeError("the last step was cut short: resume from a checkpoint first")
        listeners.tell(self.callbacks, "on_begin", self)
        self.claim_folder()
        self._clock_offset = time.perf_counter() - self.state.seconds
        self.optimizer.lr = self.state.lr  # an evaluation may be due before the next step
        outcome = "failed"
        try:
            stopped = self._train_until_stopped()
            if stopped == "interrupted" and not self._in_step:
                self._save(LAST, self.state)
            outcome = stopped
        finally:
            self.optimizer.lr = self.state.base_lr
            ended = replace(self._last_info, seconds=self.state.seconds, stopped=outcome)
            listeners.tell(self.callbacks, "on_end", ended)
        return Result(self.state.step, self.state.seconds, self.state.best_val_loss, self.state.best_step, stopped=outcome)

    def claim_folder(self) -> None:
        """What :meth:`run` does first: make the folder ready, before anything is trained.

        When its own run goes on, rows of ``metrics.csv`` after the state's step are dropped. For a fresh run ``last`` is
        written, and only then is what another run left removed: an error leaves that run as it was. Raises
        FileExistsError when ``out`` holds another run that may not be overwritten, OSError when it cannot be written.
        """
        if self.out is None:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        resumed = self._resumed_from is not None and self._resumed_from.resolve().parent == self.out.resolve()
        if self._owns_folder or resumed:
            metrics.truncate(self.out / METRICS, self.state.evaluated_step)
        else:
            found = [name for name in (LAST, BEST, METRICS) if (self.out / name).exists()]
            if found and not self.config.overwrite:
                raise FileExistsError(f"{self.out} holds another run ({', '.join(found)}): resume it or overwrite it")
            self._save(LAST, self.state)
            for name in (BEST, METRICS):
                (self.out / name).unlink(missing_ok=True)
        self._owns_folder = True

    def _train_until_stopped(self) -> str:
        try:
            with deferred_interrupt() as interrupted:
                return self._train(interrupted)
        except KeyboardInterrupt:
            return "interrupted"

    def _train(self, interrupted: Callable[[], bool]) -> str:
        while not interrupted():
            reason = self._stop_reason()
            evaluation_due = reason in ("steps", "seconds") or pace.evaluation_due(
                self.config, self.state, self._evaluated_seconds
            )
            if evaluation_due and self.state.evaluated_step < self.state.step:
                self._evaluate()
            elif reason:
                return reason
            else:
                self._step()
        return "interrupted"

    def _stop_reason(self) -> str | None:
        config, state = self.config, self.state
        if config.max_steps is not None and state.step >= config.max_steps:
            return "steps"
        if config.patience is not None and state.stale >= config.patience:
            return "patience"
        if config.max_seconds is not None and self._seconds() >= config.max_seconds:
            return "seconds"
        return "callback" if listeners.wants_stop(self.callbacks) else None

    def _seconds(self) -> float:
        return time.perf_counter() - self._clock_offset

    def _step(self) -> None:
        started = time.perf_counter()
        state = self.state
        self._in_step = True
        lr = self.optimizer.lr = float(state.base_lr * self._factor())
        for _, param in self._all_params:
            param.zero_grad()
        loss, tokens = self.task.train_step()
        norm = self._clip()
        if tokens and not math.isfinite(loss):
            raise NonFiniteLoss(f"the loss is {loss} at step {state.step + 1}: a lower learning rate usually helps")
        self.optimizer.step()
        window = state.window.add(float(loss), int(tokens), norm, time.perf_counter() - started)
        self.state = replace(
            state,
            step=state.step + 1,
            lr=lr,
            seconds=self._seconds(),
            tokens=state.tokens + int(tokens),
            window=window,
        )
        self._in_step = False
        self._last_info = self._info(float(loss), norm)
        listeners.tell(self.callbacks, "on_step", self._last_info)

    def _factor(self) -> float:
        """The schedule's, for the next step. The time is that of the state, so that a run goes on where it was stopped."""
        state, limit = self.state, self.config.max_seconds
        if isinstance(self.schedule, TimedSchedule):
            return self.schedule(state.step, min(1.0, state.seconds / limit) if limit else 0.0)
        return self.schedule(state.step)

    def _clip(self) -> float:
        """Clip the gradients; returns their norm before. Raises NonFiniteGradient."""
        norm = grad_norm(self._params)
        if not math.isfinite(norm):
            check_finite(self._params, self.state.step + 1)
        if self.config.clip_value is not None:
            clip_grad_value(self._params, self.config.clip_value)
        if self.config.clip_norm is not None:
            clip_grad_norm(self._params, self.config.clip_norm, None if self.config.clip_value else norm)
        return norm

    def _evaluate(self) -> None:
        check_finite_weights(self._params, self.state.step)
        if self.state.evaluations == 0:
            pace.limit_evaluation(self.task, self.state.tokens)
        found = self.task.evaluate()
        found = found if isinstance(found, Mapping) else {"val_loss": found}
        figures = {name: float(value) for name, value in found.items()}
        val_loss = figures.get("val_loss", math.nan)
        window, improved, seconds = self.state.window, self.state.improves(val_loss), self._seconds()
        speed = window.tokens_per_second
        if self.out is not None:
            row = (self.state.step, seconds, window.mean_loss, val_loss, self.state.lr, window.mean_grad_norm, speed)
            metrics.append(self.out / METRICS, metrics.Row(*row))
        before = self.state, listeners.states(self.callbacks)
        self.state = self.state.after_evaluation(val_loss, seconds)
        info = self._info(window.mean_loss, window.mean_grad_norm)
        named = {"loss": window.mean_loss, **figures, "lr": self.state.lr}
        info = replace(info, tokens_per_second=speed, improved=improved, metrics=named)
        try:
            # The row and the best come before the state: whoever goes on from an older state evaluates and writes
            # them again.
            listeners.tell(self.callbacks, "on_metrics", info)
            if improved:
                self._save(BEST, self.state)
        except BaseException:
            self.state = before[0]
            listeners.restore(self.callbacks, before[1])
            raise
        self._last_info = info
        self._save(LAST, self.state)
        listeners.tell(self.callbacks, "on_eval", info)
        self._evaluated_seconds = self._seconds()  # only now: slow samples do not make the next one due

    def _save(self, name: str, state: RunState) -> None:
        """Write a checkpoint with this state, unless the weights are broken: a good file never gives way to a bad one."""
        if self.out is None:
            return
        check_finite_weights(self._params, state.step)
        task_state = dict(self.task.state_dict())
        theirs, their_arrays = listeners.pack(listeners.states(self.callbacks))
        arrays = {**task_state.pop("arrays", {}), **their_arrays}
        content = {"trainer": asdict(state), "task": task_state, "callbacks": theirs, "arrays": arrays}
        weights = {full_name: param.data for full_name, param in self._all_params}
        checkpoint.save(self.out / name, weights, self.optimizer, content)

    def _info(self, train_loss: float, norm: float) -> Info:
        state = self.state
        return Info(
            step=state.step,
            seconds=state.seconds,
            train_loss=train_loss,
            val_loss=state.val_loss,
            tokens=state.tokens,
            tokens_per_second=state.window.tokens_per_second,
            lr=state.lr,
            grad_norm=norm,
            best_val_loss=state.best_val_loss,
            best_step=state.best_step,
            epoch=state.evaluations,
        )
