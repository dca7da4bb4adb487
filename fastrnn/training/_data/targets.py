"""What targets must be before a model is trained towards them: some that count, and as many steps as its outputs have."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...graph import Model, Sequential
from ...layers._symbolic.symbols import flat
from ...layers._symbolic.time_axes import lengths_of
from ...layers.base import Layer
from ...losses import IGNORED
from .examples import Examples
from .output_axes import output_specs


def check_counted(name: str, examples: Examples) -> None:
    """Raise ValueError where there is nothing to learn from or to measure: no target counts."""
    if examples.targets and all(field.lengths is not None and not field.lengths.any() for field in examples.targets):
        raise ValueError(f"{name} targets must hold some that count, got sequences of no steps alone")
    if all(field.is_ids and IGNORED in field.rows and (field.flat()[0] == IGNORED).all() for field in examples.targets):
        raise ValueError(f"{name} targets must hold some that count, got {IGNORED} alone")


def check_steps(name: str, model: Layer, examples: Examples, loss: Any) -> None:
    """Raise ValueError, saying which example, where a target's steps are not those of the input that it belongs to.

    A loss would notice it only where the longest of a batch differ, and else compare outputs with padding. It is looked for
    where it is certain: under a ``loss`` by name (or a tuple with some), for outputs that are known to have an input's time
    axis, those of a Model or a Sequential. ``examples`` have the time axes' names that the model has.
    """
    axes = examples.time_axes()
    losses = loss if isinstance(loss, tuple) else (loss,) * len(examples.targets)
    found: list[str] | None = None
    for i, (field, its) in enumerate(zip(examples.targets, losses, strict=False)):
        mine = field.lengths
        if mine is None or not isinstance(its, str):
            continue
        found = _output_axes(model, examples) if found is None else found
        wanted = lengths_of(found[i], axes) if i < len(found) else None
        if wanted is None or np.array_equal(mine, wanted):
            continue
        n = int(np.flatnonzero(mine != wanted)[0])
        same = [given.lengths is not None and np.array_equal(given.lengths, wanted) for given in examples.inputs]
        target = f"targets[{i}]" if examples.several_targets else "targets"
        source = f"inputs[{same.index(True)}]" if len(same) > 1 and True in same else "inputs"
        as_its = f"as {source}[{n}]" if True in same else f"as the output over {found[i]} has"
        raise ValueError(f"{name} {target}[{n}] must have {wanted[n]} steps {as_its}, got {mine[n]}")


def _output_axes(model: Layer, examples: Examples) -> list[str]:
    """The name of each output's time axis, "" where there is none; nothing for a layer that does not tell."""
    if not isinstance(model, (Model, Sequential)):
        return []
    shapes = [spec.shape for spec in flat(output_specs(model, examples))]
    times = [shape[1:2] if shape[:1] == ("B",) else shape[:1] if shape[1:2] == ("B",) else () for shape in shapes]
    return [time[0] if time and isinstance(time[0], str) else "" for time in times]
