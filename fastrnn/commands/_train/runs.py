"""What the commands that train have in common, whatever they train."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...console import note
from ..errors import UsageError
from .final_evaluation import evaluate_best

if TYPE_CHECKING:
    from ...training import Result, Trainer
    from ...training._run.options import RunOptions
    from ...training._run.plots import Scale
    from ...training._run.run_config import RunConfig

# What may change when a run goes on; all else is part of what the run is.
# The same text may be read in another encoding: its hash says whether it is the same.
RESUMABLE = ("max_steps", "max_seconds", "patience", "encoding")
REASONS = {"steps": "all steps done", "seconds": "the time is up", "patience": "no improvement any more"}

Run = TypeVar("Run", bound="RunOptions")


def changed(options: Run, wanted: Mapping[str, Any]) -> Run:
    """A run's options with what may change. Raises UsageError for an option that differs and may not."""
    for name, value in wanted.items():
        before = getattr(options, name)
        if name not in RESUMABLE and value != before:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} cannot change when a run goes on: it is {before}, got {value}")
    return replace(options, **{name: value for name, value in wanted.items() if name in RESUMABLE})


def shortened(sources: Sequence[str]) -> str:
    """Return the names of up to three sources, and how many more there are."""
    return ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")


def fresh_folder(paths: Sequence[str], embedded: str, unnamed: str) -> Path:
    """Return runs/NAME, or the first of runs/NAME-2, runs/NAME-3, ... where nothing would be lost.

    NAME is that of the first path, or what the embedded data or a path without a name are called.
    """
    from ...text.reading import CORPUS
    from ...training._run.folder import files_of_a_run

    name = (Path(paths[0].removeprefix(CORPUS)).resolve().stem if paths else embedded) or unnamed
    candidates = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(folder for candidate in candidates if not files_of_a_run(folder := Path("runs") / candidate))


def tell_differences(before: RunConfig[Any, Any], now: RunConfig[Any, Any], step: int) -> None:
    """Say why the run will not be, to the bit, what it would have been without a stop."""
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
    """Say how a run ended; the exit status. If it was evaluated on a sample, its best weights are evaluated on more."""
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
        print(f"interrupted at step {result.step}; go on with: fastrnn train {kind} --resume --out {out}")
        return 130
    print(f"{REASONS[result.stopped]}: {result.step} steps in {result.seconds:.0f} s", flush=True)
    if sample and (out / BEST).exists():
        limit = trainer.config.max_seconds
        evaluate_best(trainer.task, out / BEST, unit, scale, max_seconds=limit, used=result.seconds)
    return 0
