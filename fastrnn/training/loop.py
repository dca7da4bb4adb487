"""The training loop: steps, evaluations and checkpoints. A resumed run gives the same bits as one that never stopped."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .._core import checks
from ..distributed.agreement import raised_by_all
from ..distributed.communicator import SOLO, Communicator
from ..gradients import NonFiniteLoss, check_finite, check_finite_weights, clip_grad_norm, clip_grad_value, grad_norm
from . import checkpoint
from ._run import listeners, pace
from ._run import metrics_file as metrics
from ._run.interrupts import deferred_interrupt
from ._run.ranks import Ranks, Signals
from ._run.requirements import optimized_params, require_free
from ._run.run_state import Info, Result, RunState, Window
from .checkpoint import CheckpointError
from .schedules import Schedule, TimedSchedule
from .task import LoopConfig, Task

if TYPE_CHECKING:
    from ..optim import Optimizer

LAST, BEST, METRICS = "last.safetensors", "best.safetensors", "metrics.csv"


class Trainer:
    """Training loop of one task.

    The learning rate of step s (from 0) is ``optimizer.lr`` at the start of the run times ``schedule(s)``. A
    :class:`TimedSchedule` also gets the share of ``max_seconds`` that has passed.

    The task is evaluated every ``eval_every`` steps, and when the steps or the time are used up. Each evaluation adds a row
    to ``out/metrics.csv`` and writes ``out/last.safetensors``, and ``out/best.safetensors`` if the loss improved. A fresh
    run writes ``last`` before its first step, so an unwritable folder fails at once. With ``out=None`` nothing is written.

    A callback is an object with any of these methods, where ``info`` is an :class:`Info`:

    - ``on_begin(trainer)``, before the run does or writes anything
    - ``on_step(info)``, after each step
    - ``on_metrics(info)``, after an evaluation, before its checkpoints are written
    - ``on_eval(info)``, after the checkpoints are written
    - ``on_end(info)``, however the run ends

    A callback ends the run by setting its attribute ``stop_training``. If it has ``state_dict()`` and
    ``load_state_dict(state)``, its state is saved in the checkpoints and restored on resume; changes made in ``on_metrics``
    are in the checkpoints of that evaluation. Raises TypeError for a callback that has none of the methods.

    With a ``communicator`` of several ranks, each rank makes a trainer of the same task, which must have ``divide`` (see
    :class:`fastrnn.training._run.ranks.DividedTask`). Rank 0 alone writes files. Only rank 0 needs callbacks.
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        schedule: Schedule | TimedSchedule,
        config: LoopConfig,
        out: str | os.PathLike[str] | None = None,
        callbacks: Sequence[object] = (),
        communicator: Communicator = SOLO,
    ) -> None:
        self.task, self.optimizer, self.schedule, self.config = task, optimizer, schedule, config
        self.out = None if out is None else Path(out)
        self.callbacks = listeners.checked(callbacks)
        self.state = RunState(base_lr=float(optimizer.lr), lr=float(optimizer.lr))
        self._all_params = task.named_parameters()
        self._params = optimized_params(task, optimizer)
        self.ranks = Ranks(communicator, task, self._params)
        self._signals = Signals(False, False, 0.0, float(optimizer.lr))
        self._resumed_from: Path | None = None
        self._owns_folder = False
        self._in_step = False
        self._clock_offset = 0.0
        self._evaluated_seconds = 0.0  # when the last evaluation ended; after a resume, when the checkpoint was written
        self._last_info = self._info(math.nan, math.nan)

    @property
    def base_lr(self) -> float:
        """The learning rate that the schedule multiplies. It may be set during the run, and is saved with it."""
        return self.state.base_lr

    @base_lr.setter
    def base_lr(self, value: float) -> None:
        self.state = replace(self.state, base_lr=checks.number("base_lr", value, 0.0))

    def resume(self, path: str | os.PathLike[str] | None = None) -> None:
        """Restore a checkpoint, by default ``out/last.safetensors``, from which :meth:`run` then continues.

        The run drops the rows of ``metrics.csv`` after the checkpoint's step. The optimiser's hyperparameters and the base
        learning rate come from the checkpoint; the schedule and the config are this trainer's. Raises OSError, and
        :class:`CheckpointError` naming the file if it is damaged or belongs to another model, optimiser or task; the weights
        are then unchanged.
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
        """Train until the steps, the time or the patience are used up, a callback stops the run, or Ctrl-C.

        The first Ctrl-C lets the step finish and saves ``last``; the second stops at once and leaves the saved checkpoints
        as they are.

        Raises
        ------
        NonFiniteGradient, NonFiniteLoss, NonFiniteWeight
            Training diverged; see :mod:`fastrnn.optim`. The last good checkpoint stays.
        FileExistsError
            ``out`` holds another run.
        OSError
            ``out`` cannot be written.
        """
        if self._in_step:
            raise RuntimeError("the last step was cut short: resume from a checkpoint first")
        self.ranks.begin(self._all_params, {"learning rate": self.state.base_lr, "step": self.state.step})
        listeners.notify(self.callbacks, "on_begin", self)
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
            listeners.notify(self.callbacks, "on_end", ended)
        self.ranks.share_weights(self._all_params)  # a callback may have restored others
        return Result(self.state.step, self.state.seconds, self.state.best_val_loss, self.state.best_step, stopped=outcome)

    def claim_folder(self) -> None:
        """Prepare the folder before training; :meth:`run` calls this first.

        A continued run drops the rows of ``metrics.csv`` after the state's step. A fresh run writes ``last`` before it
        removes the files of another run, so an error leaves that run intact. Raises FileExistsError if ``out`` holds another
        run that may not be overwritten, and OSError if it cannot be written.
        """
        if self.out is None:
            return
        came_from = self._resumed_from and self._resumed_from.resolve().parent
        if self._owns_folder or came_from == self.out.resolve():
            if self.ranks.main:
                metrics.truncate(self.out / METRICS, self.state.evaluated_step)
        else:
            if self.ranks.main:
                require_free(self.out, (LAST, BEST, METRICS), self.config.overwrite)
            self._save(LAST, self.state)
            if self.ranks.main:
                for name in (BEST, METRICS):
                    (self.out / name).unlink(missing_ok=True)
            self.ranks.require_visible(self.out / LAST)
        self._owns_folder = True

    def _train_until_stopped(self) -> str:
        try:
            with deferred_interrupt() as interrupted:
                return self._train(interrupted)
        except KeyboardInterrupt:
            if self.ranks.several:  # the other ranks are still in the step
                raise
            return "interrupted"

    def _train(self, interrupted: Callable[[], bool]) -> str:
        while not self._agree(interrupted()).interrupted:
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

    def _agree(self, interrupted: bool) -> Signals:
        """Agree with the other ranks on what happens next."""
        stop, seconds = listeners.wants_stop(self.callbacks), time.perf_counter() - self._clock_offset
        self._signals = self.ranks.agree(Signals(interrupted, stop, seconds, self.state.base_lr))
        if self.ranks.several:
            self.state = replace(self.state, base_lr=self._signals.base_lr)
        return self._signals

    def _stop_reason(self) -> str | None:
        config, state = self.config, self.state
        if config.max_steps is not None and state.step >= config.max_steps:
            return "steps"
        if config.patience is not None and state.stale >= config.patience:
            return "patience"
        if config.max_seconds is not None and self._signals.seconds >= config.max_seconds:
            return "seconds"
        return "callback" if self._signals.stop else None

    def _seconds(self) -> float:
        return self.ranks.seconds(time.perf_counter() - self._clock_offset)

    def _step(self) -> None:
        started = time.perf_counter()
        state = self.state
        self._in_step = True
        lr = self.optimizer.lr = float(state.base_lr * self._factor())
        for _, param in self._all_params:
            param.zero_grad()
        self.ranks.computes_a_step()
        own_loss, own_tokens = self.task.train_step()
        loss, tokens = self.ranks.average(own_loss, own_tokens)
        norm = grad_norm(self._params)
        if not math.isfinite(norm) or (tokens and not math.isfinite(loss)):
            self.ranks.blame(own_loss, own_tokens, state.step + 1)
        with raised_by_all():
            self._clip(norm)
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
        listeners.notify(self.callbacks, "on_step", self._last_info)

    def _factor(self) -> float:
        """Return the schedule's factor for the next step, at the time of the state, which a resumed run restores."""
        state, limit = self.state, self.config.max_seconds
        if isinstance(self.schedule, TimedSchedule):
            return self.schedule(state.step, min(1.0, state.seconds / limit) if limit else 0.0)
        return self.schedule(state.step)

    def _clip(self, norm: float) -> None:
        """Clip the gradients, whose norm is known. Raises NonFiniteGradient."""
        if not math.isfinite(norm):
            check_finite(self._params, self.state.step + 1)
        if self.config.clip_value is not None:
            clip_grad_value(self._params, self.config.clip_value)
        if self.config.clip_norm is not None:
            clip_grad_norm(self._params, self.config.clip_norm, None if self.config.clip_value else norm)

    def _evaluate(self) -> None:
        with raised_by_all():
            check_finite_weights(self._params, self.state.step)
        self.ranks.require_equal_weights(self._all_params, self.state.step)
        if self.state.evaluations == 0:
            pace.limit_evaluation(self.task, self.state.tokens)
        found = self.task.evaluate()
        found = found if isinstance(found, Mapping) else {"val_loss": found}
        values = {name: float(value) for name, value in found.items()}
        val_loss = values.get("val_loss", math.nan)
        window, improved, seconds = self.state.window, self.state.improves(val_loss), self._seconds()
        speed = window.tokens_per_second
        if self.out is not None and self.ranks.main:
            row = (self.state.step, seconds, window.mean_loss, val_loss, self.state.lr, window.mean_grad_norm, speed)
            metrics.append(self.out / METRICS, metrics.Row(*row))
        before = self.state, listeners.states(self.callbacks)
        self.state = self.state.after_evaluation(val_loss, seconds)
        info = self._info(window.mean_loss, window.mean_grad_norm)
        named = {"loss": window.mean_loss, **values, "lr": self.state.lr}
        info = replace(info, tokens_per_second=speed, improved=improved, metrics=named)
        try:
            # The row and the best weights are written before the state, because a run that resumes from an older state
            # evaluates again and rewrites them.
            listeners.notify(self.callbacks, "on_metrics", info)
            if improved:
                self._save(BEST, self.state)
        except BaseException:
            self.state = before[0]
            listeners.restore(self.callbacks, before[1])
            raise
        self._last_info = info
        self._save(LAST, self.state)
        listeners.notify(self.callbacks, "on_eval", info)
        self._evaluated_seconds = self._seconds()  # after the callbacks, so slow samples do not make an evaluation due

    def _save(self, name: str, state: RunState) -> None:
        """Write a checkpoint with this state. Raises NonFiniteWeight before a good file is replaced by a bad one."""
        if self.out is None:
            return
        with raised_by_all():
            check_finite_weights(self._params, state.step)
        task_state = dict(self.task.state_dict())
        theirs, their_arrays = listeners.pack(listeners.states(self.callbacks))
        arrays = {**task_state.pop("arrays", {}), **their_arrays}
        content = {"trainer": asdict(state), "task": task_state, "callbacks": theirs, "arrays": arrays}
        weights = {full_name: param.data for full_name, param in self._all_params}
        if self.ranks.main:
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
