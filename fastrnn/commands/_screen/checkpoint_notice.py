"""The notice for a run without a best checkpoint."""

from __future__ import annotations

from pathlib import Path

from ...console import note, quantity


def note_checkpoint(folder: Path) -> None:
    """Print a notice if a run has only its last weights because it was stopped before its first evaluation.

    Raises RunError and CheckpointError, as loading the run does.
    """
    from ...training._run.folder import best_checkpoint, damaged
    from ...training.checkpoint import load
    from ...training.loop import LAST

    path = best_checkpoint(folder)
    if path.name != LAST:
        return
    with damaged(path):
        step = int(load(path).state["trainer"]["step"])
    note(
        f"{folder} was stopped before its first evaluation and has no best weights: {LAST} is used, "
        f"of {quantity(step, 'training step')}"
    )
