"""Checks before a run begins: that its folder is free, and that its optimiser's parameters are the task's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..._core.parameter import Parameter
    from ...optim import Optimizer
    from ..task import Task


def require_free(out: Path, names: Sequence[str], overwrite: bool) -> None:
    """Make a folder. Raises FileExistsError if it has one of these files, which may not be overwritten, and OSError."""
    out.mkdir(parents=True, exist_ok=True)
    found = [name for name in names if (out / name).exists()]
    if found and not overwrite:
        raise FileExistsError(f"{out} holds another run ({', '.join(found)}): resume it or overwrite it")


def optimized_params(task: Task, optimizer: Optimizer) -> list[tuple[str, Parameter]]:
    """Return the parameters that the optimiser updates, by the task's names. Raises ValueError for one that is not there."""
    optimized = {id(param): name for name, param in optimizer.named_params}
    named = [(name, param) for name, param in task.named_parameters() if id(param) in optimized]
    foreign = set(optimized) - {id(param) for _, param in named}
    if foreign:
        raise ValueError(f"optimizer has a parameter that is not the task's: {optimized[foreign.pop()]}")
    return named
