"""The axes of a model's outputs, from its symbols, its shape inference, or a few trial calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._core.arrays import Array
from ...layers._symbolic.symbols import UNKNOWN, Axis, Nest, Spec, Symbol, flat, mapped
from ...layers.base import Layer

if TYPE_CHECKING:
    from .examples import Batch, Examples


def symbols(model: Layer, which: str = "inputs") -> tuple[Symbol, ...]:
    """Return the input or output symbols of a Model; an empty tuple for any other layer."""
    found = tuple(flat(getattr(model, which, ())))
    return found if all(isinstance(symbol, Symbol) for symbol in found) else ()


def keywords(model: Layer, batch: Batch) -> dict[str, Any]:
    """Return ``lengths`` as a keyword if the batch has them and the model takes them.

    Raises ValueError for a model that does not take them and would read padding.
    """
    if batch.lengths is None:
        return {}
    options = signature(model.__call__).parameters.values()
    if any(option.name == "lengths" or option.kind == Parameter.VAR_KEYWORD for option in options):
        return {"lengths": batch.lengths}
    several = batch.lengths.values() if isinstance(batch.lengths, dict) else [batch.lengths]
    if not model.pointwise and any((lengths != lengths[0]).any() for lengths in several):
        raise ValueError(
            f"{type(model).__name__} must take lengths=None in its call and forward: sequences differ in length"
        )
    return {}


def output_specs(model: Layer, examples: Examples) -> Nest:
    """Return the specs of the model's outputs, nested as the outputs, for examples that are laid out for it.

    Axes are ``"B"``, the names of time axes, sizes, or ``"?"`` for any other.
    """
    if symbols(model, "outputs"):
        return mapped(getattr(model, "outputs"), lambda symbol: symbol.spec)  # noqa: B009
    try:
        return model.infer(*_input_specs(examples))
    except (TypeError, ValueError):  # for example a class whose call requires lengths
        return _specs_from_trials(model, examples)


def _input_specs(examples: Examples) -> list[Spec]:
    specs = []
    for axis, field in zip(examples.axes(), examples.inputs, strict=True):
        shape: tuple[Axis, ...] = ("B",) if axis is None else ("B", axis) if field.batch_first else (axis, "B")
        specs.append(Spec((*shape, *field.rows.shape[1:]), field.rows.dtype.name))
    return specs


def _specs_from_trials(model: Layer, examples: Examples) -> Nest:
    """Return the specs found by trial calls, in which an axis that is as long as *all* sequences is taken for time.

    The batch sizes are 1, 2, 3, ..., so an axis that grows by one each time is the batch. Lengths cannot do so, because the
    second trial has the shortest sequence.
    """
    axes = examples.time_axes()
    lengths = np.stack(list(axes.values())) if axes else np.zeros((1, len(examples)), np.int64)
    unlike = int(np.argmax([len(set(column)) for column in lengths.T.tolist()]))
    chosen = [unlike, *lengths.argmin(axis=1).tolist(), *lengths.argmax(axis=1).tolist()]
    trials = []
    for B, example in enumerate(chosen, 1):
        batch = examples.batch(np.full(B, example))
        trials.append(model(*batch.inputs, **keywords(model, batch)))
    # A batch has at least one step, even if all of its sequences are empty.
    names: dict[Any, Axis] = {
        tuple(np.maximum(of_all[chosen], 1).tolist()): name for name, of_all in reversed(list(axes.items()))
    }
    names[tuple(range(1, len(chosen) + 1))] = "B"
    each = [list(flat(outputs)) for outputs in trials]
    specs = iter([_named(arrays, names) for arrays in zip(*each, strict=True)])
    return mapped(trials[0], lambda _: next(specs))


def _named(arrays: Sequence[Array], names: Mapping[Any, Axis]) -> Spec:
    """Return the spec of an output from its arrays in the trials."""
    sizes = list(zip(*map(np.shape, arrays), strict=False))
    axes = [names.get(size, size[0] if len(set(size)) == 1 else UNKNOWN) for size in sizes]
    return Spec(tuple(axes), np.asarray(arrays[0]).dtype.name)
