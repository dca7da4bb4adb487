"""The axes of a model's outputs over some examples, from its symbols, its shapes, or a few trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...layers._symbolic.symbols import UNKNOWN, Axis, Nest, Spec, Symbol, flat, mapped
from ...layers.base import Layer

if TYPE_CHECKING:
    from .examples import Batch, Examples

Array = NDArray[Any]


def symbols(model: Layer, which: str = "inputs") -> tuple[Symbol, ...]:
    """The symbols that a Model was made of; nothing for any other layer."""
    found = tuple(flat(getattr(model, which, ())))
    return found if all(isinstance(symbol, Symbol) for symbol in found) else ()


def keywords(model: Layer, batch: Batch) -> dict[str, Any]:
    """``lengths`` for a model that takes them, where there are any. Raises ValueError for one that would read padding."""
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
    """The specs of the model's outputs, nested as they are, for examples that are laid out for it.

    Axes are ``"B"``, the names of time axes, and sizes; ``"?"`` for any other.
    """
    if symbols(model, "outputs"):
        return mapped(getattr(model, "outputs"), lambda symbol: symbol.spec)  # noqa: B009
    try:
        return model.infer(*_input_specs(examples))
    except (TypeError, ValueError):  # such as a class whose call cannot do without lengths
        return _tried(model, examples)


def _input_specs(examples: Examples) -> list[Spec]:
    specs = []
    for axis, field in zip(examples.axes(), examples.inputs, strict=True):
        shape: tuple[Axis, ...] = ("B",) if axis is None else ("B", axis) if field.batch_first else (axis, "B")
        specs.append(Spec((*shape, *field.rows.shape[1:]), field.rows.dtype.name))
    return specs


def _tried(model: Layer, examples: Examples) -> Nest:
    """The specs as they turn out in a few trials, in which an axis that is as long as *all* sequences passes for time.

    The trials' B are 1, 2, 3... and their lengths are not: the first is not below the least, which is that of a later one.
    """
    axes = examples.time_axes()
    lengths = np.stack(list(axes.values())) if axes else np.zeros((1, len(examples)), np.int64)
    unlike = int(np.argmax([len(set(column)) for column in lengths.T.tolist()]))
    chosen = [unlike, *lengths.argmin(axis=1).tolist(), *lengths.argmax(axis=1).tolist()]
    trials = []
    for B, example in enumerate(chosen, 1):
        batch = examples.batch(np.full(B, example))
        trials.append(model(*batch.inputs, **keywords(model, batch)))
    # A batch has one step at least, whatever its sequences have.
    names: dict[Any, Axis] = {
        tuple(np.maximum(of_all[chosen], 1).tolist()): name for name, of_all in reversed(list(axes.items()))
    }
    names[tuple(range(1, len(chosen) + 1))] = "B"
    each = [list(flat(outputs)) for outputs in trials]
    specs = iter([_named(arrays, names) for arrays in zip(*each, strict=True)])
    return mapped(trials[0], lambda _: next(specs))


def _named(arrays: Sequence[Array], names: Mapping[Any, Axis]) -> Spec:
    """The spec of an output, from what it was in each trial."""
    sizes = list(zip(*map(np.shape, arrays), strict=False))
    axes = [names.get(size, size[0] if len(set(size)) == 1 else UNKNOWN) for size in sizes]
    return Spec(tuple(axes), np.asarray(arrays[0]).dtype.name)
