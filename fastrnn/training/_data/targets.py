"""Validation of targets before training: at least one must count, and their steps must match the model's outputs."""

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
    """Raise ValueError if every target is empty or ignored, so there is nothing to train on or to measure."""
    if examples.targets and all(field.lengths is not None and not field.lengths.any() for field in examples.targets):
        raise ValueError(f"{name} targets must hold at least one step, got only empty sequences")
    if all(field.is_ids and IGNORED in field.rows and (field.flat()[0] == IGNORED).all() for field in examples.targets):
        raise ValueError(f"{name} targets must hold at least one class id, got only {IGNORED}")


def check_steps(name: str, model: Layer, examples: Examples, loss: Any) -> None:
    """Raise ValueError, naming the example, if a target has not as many steps as the input that it belongs to.

    A loss would notice only if the longest sequences of a batch differ; otherwise it would compare outputs with padding. The
    check needs certainty: it covers losses given by name, and outputs of a Model or a Sequential that have an input's time
    axis. ``examples`` must name their time axes as the model does.
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
    """Return the name of each output's time axis, "" without one; [] if the layer is neither a Model nor a Sequential."""
    if not isinstance(model, (Model, Sequential)):
        return []
    shapes = [spec.shape for spec in flat(output_specs(model, examples))]
    times = [shape[1:2] if shape[:1] == ("B",) else shape[:1] if shape[1:2] == ("B",) else () for shape in shapes]
    return [time[0] if time and isinstance(time[0], str) else "" for time in times]
