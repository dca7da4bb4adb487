"""The evaluation of the best weights at the end of a run, on as much held-out data as the time limit allows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._screen.reading_progress import reading_progress

if TYPE_CHECKING:
    from ...training._run.plots import Scale

LIMIT_SHARE = 0.1  # the evaluation may exceed --max-seconds by this share
# A sample of a few tokens has few sequences side by side, so its speed differs from that of a full evaluation. The speed is
# measured on a sample that takes at most MEASURED_SECONDS, or MEASURED_SHARE of the evaluation's time if that is less.
MEASURED_SECONDS, MEASURED_SHARE = 1.0, 0.25
GROWTH = 4


def evaluate_best(
    task: Any, best: Path, unit: str, scale: Scale, *, max_seconds: float | None = None, used: float = 0.0
) -> None:
    """Print the loss of the best weights on held-out data. Ctrl-C skips the evaluation.

    Without a time limit all held-out data is evaluated. With a limit the evaluation takes the seconds that are left, or a
    tenth of the limit if that is more. If they do not suffice for all data, a larger sample is evaluated.

    Parameters
    ----------
    task
        A :class:`fastrnn.training._run.pace.SampledTask` that was evaluated on a sample.
    best
        The checkpoint of the best weights.
    unit, scale
        The unit that losses are counted per, and the scale that they are shown on.
    max_seconds, used
        The time limit of the run, and the seconds of it that training used.
    """
    from ...training import checkpoint

    arrays = checkpoint.load(best).model
    for name, param in task.named_parameters():
        param.assign(arrays[name])
    try:
        _evaluate(task, unit, scale, None if max_seconds is None else max(LIMIT_SHARE * max_seconds, max_seconds - used))
    except KeyboardInterrupt:
        print("the evaluation is left out")


def _evaluate(task: Any, unit: str, scale: Scale, budget: float | None) -> None:
    sample, held = task.evaluated
    started = time.perf_counter()
    speed = measured_speed(task, MEASURED_SECONDS if budget is None else min(MEASURED_SECONDS, MEASURED_SHARE * budget))
    left = None if budget is None else speed * (budget + started - time.perf_counter())  # tokens
    if left is None or left >= held:
        of = f"all {held:,} {unit}s held out: about {held / speed:.0f} s"
        name, total, evaluate = "all that is held out", held, task.evaluate_in_full
    elif left <= sample:
        print(f"evaluated on {sample:,} of the {held:,} {unit}s held out: --max-seconds leaves no time for more")
        return
    else:
        task.limit_evaluation(int(left))
        total = task.evaluated[0]
        name, evaluate = f"these {total:,} {unit}s", task.evaluate
        of = f"{total:,} of the {held:,} {unit}s held out: --max-seconds leaves no time for all"
    print(f"evaluating the best weights on {of} (Ctrl-C leaves it out)", flush=True)
    with reading_progress("evaluating", total, f"{unit}s") as bar:
        loss = evaluate(bar.advance)
    print(f"validation loss on {name}: {loss:.4f} nats per {unit} ({scale.text(loss)})")


def measured_speed(task: Any, seconds: float) -> float:
    """Return the speed of evaluation in tokens per second, on a sample that grows while it takes few of ``seconds``."""
    while True:
        started = time.perf_counter()
        task.evaluate()
        taken = time.perf_counter() - started
        tokens, held = task.evaluated
        if GROWTH * taken > seconds or GROWTH * tokens >= held:
            return float(tokens / max(taken, 1e-9))
        task.limit_evaluation(GROWTH * tokens)
