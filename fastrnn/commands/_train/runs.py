"""Functions that the training commands share for all kinds."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...console import note, quantity
from ..errors import UsageError
from .final_evaluation import evaluate_best

if TYPE_CHECKING:
    from ...training import Result, Trainer
    from ...training._run.options import RunOptions
    from ...training._run.plots import Scale
    from ...training._run.run_config import RunConfig

# Options that may change when a run is resumed; all others define the run. Another encoding may give the same text, and its
# hash confirms that.
RESUMABLE = ("max_steps", "max_seconds", "patience", "encoding")
REASONS = {"steps": "all steps done", "seconds": "the time is up", "patience": "no improvement any more"}

Run = TypeVar("Run", bound="RunOptions")


def changed(options: Run, wanted: Mapping[str, Any]) -> Run:
    """Return a run's options with the changes wanted. Raises UsageError for an option that may not change."""
    for name, value in wanted.items():
        before = getattr(options, name)
        if name not in RESUMABLE and value != before:
            flag = "--" + name.replace("_", "-")
            missing = "0" if name in ("clip_norm", "clip_value") else "not given"
            was, got = (missing if given is None else given for given in (before, value))
            raise UsageError(f"{flag} cannot change when a run goes on: it is {was}, got {got}")
    return replace(options, **{name: value for name, value in wanted.items() if name in RESUMABLE})


def shortened(sources: Sequence[str]) -> str:
    """Return the names of up to three sources, and how many more there are."""
    return ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")


def fresh_folder(paths: Sequence[str], embedded: str, unnamed: str) -> Path:
    """Return runs/NAME, or the first of runs/NAME-2, runs/NAME-3, ... that holds no run.

    NAME is the name of the first path, or ``embedded`` without a path, or ``unnamed`` for a pipe or a path without a name.
    """
    from ...text.reading import CORPUS
    from ...training._run.folder import files_of_a_run

    name = (Path(paths[0].removeprefix(CORPUS)).resolve().stem if paths else embedded) or unnamed
    if paths and Path(paths[0]).is_fifo():  # one such as /dev/stdin is called pipe:[12345]
        name = unnamed
    candidates = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(folder for candidate in candidates if not files_of_a_run(folder := Path("runs") / candidate))


def note_differences(before: RunConfig[Any, Any], now: RunConfig[Any, Any], step: int) -> None:
    """Print why the resumed run will differ from a run that never stopped, if it will."""
    from ...training._run.options import reshaped

    was, options = before.options, now.options
    print(f"going on from step {step}")
    if before.kernels not in (None, now.kernels):
        kernels = f"{before.kernels} and goes on with {now.kernels}"
        note(f"fastrnn: warning: the run used {kernels}: results will differ in rounding")
    if name := reshaped(was, options, step):
        first, second = (getattr(run, name) or "not given" for run in (was, options))
        limit = f"--{name.replace('_', '-')} was {first} and is {second}"
        note(f"fastrnn: warning: {limit}: the learning rates of the {options.schedule} schedule change")


def finish(result: Result, trainer: Trainer, kind: str, unit: str, scale: Scale) -> int:
    """Print how a run ended, and return the exit status.

    If the run was evaluated on a sample, its best weights are evaluated on more data.
    """
    from ...training._run.pace import sample_of
    from ...training.loop import BEST

    out = trainer.out
    assert out is not None
    sample = sample_of(trainer.task)
    if result.best_val_loss is not None:
        loss = result.best_val_loss
        of = f", on the sample of {sample[0]:,} {unit}s" if sample else ""
        print(f"best validation loss {loss:.4f} nats per {unit} ({scale.text(loss)}), at step {result.best_step}{of}")
    if result.stopped == "interrupted":
        print(f"interrupted at step {result.step}; go on with: fastrnn train {kind} --resume --out {shlex.quote(str(out))}")
        return 130
    print(f"{REASONS[result.stopped]}: {quantity(result.step, 'step')} in {result.seconds:.0f} s", flush=True)
    if sample and (out / BEST).exists():
        limit = trainer.config.max_seconds
        evaluate_best(trainer.task, out / BEST, unit, scale, max_seconds=limit, used=result.seconds)
    return 0
