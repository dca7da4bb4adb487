"""What targets must be before a model is trained towards them: some that count, and as many steps as its outputs have."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Input, Model
from ..layers.base import Layer
from ..layers.sequential import Sequential
from ..layers.symbols import Symbol
from ..losses import IGNORED
from .examples import Examples


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
        if mine is None or not isinstance(its, str) or all(np.array_equal(mine, lengths) for lengths in axes.values()):
            continue
        found = _output_axes(model, examples) if found is None else found
        wanted = axes.get(found[i]) if i < len(found) else None
        if wanted is None or np.array_equal(mine, wanted):
            continue
        n = int(np.flatnonzero(mine != wanted)[0])
        same = (given.lengths is not None and np.array_equal(given.lengths, wanted) for given in examples.inputs)
        k = list(same).index(True)
        target = f"targets[{i}]" if examples.several_targets else "targets"
        source = f"inputs[{k}]" if len(examples.inputs) > 1 else "inputs"
        raise ValueError(f"{name} {target}[{n}] must have {wanted[n]} steps as {source}[{n}], got {mine[n]}")


def _output_axes(model: Layer, examples: Examples) -> list[str]:
    """The name of each output's time axis, "" where there is none; nothing for a layer that does not tell."""
    outputs: Any = ()
    if isinstance(model, Model):
        outputs = model.outputs
    elif isinstance(model, Sequential):
        (axis,), rows = examples.time_axes(), examples.inputs[0].rows
        try:
            outputs = model(Input((axis, "B", *rows.shape[1:]), rows.dtype))
        except (TypeError, ValueError):
            return []  # the first step says what does not fit
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    return [(output.spec.time or "") if isinstance(output, Symbol) else "" for output in several]
