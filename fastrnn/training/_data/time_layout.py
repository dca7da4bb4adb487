"""Layout of examples for a model: one rule finds the time axes of inputs and targets.

A list of N sequences has time. An array ``[N, ...]`` has time

    for a Model         if its Input says so, as in ("T", "B", 64)
    for other layers    if the layer takes [T, B, ...] and refuses [B, ...], by Layer.infer; an inner Model follows its Input

Targets, lists or arrays, have the axes of the output that they belong to. A user's class that contains layers over time
must declare ``takes_lengths`` or ``batch_first``, because shapes cannot tell; otherwise it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..._core.checks import describe
from ...graph import Sequential
from ...graph.chain import is_batch_first
from ...layers._recurrent.cell_layers import RecurrentCell
from ...layers._symbolic.symbols import Spec, Symbol, flat
from ...layers._symbolic.time_axes import lengths_of
from ...layers.base import Layer
from .output_axes import output_specs, symbols
from .padded_field import Field

if TYPE_CHECKING:
    from .examples import Axis, Examples

TIME = "T"


def lay_out(name: str, examples: Examples, model: Layer) -> Examples:
    """Return the examples laid out for the model: which arrays are sequences, their time axis, and the order of axes.

    Raises TypeError or ValueError, with ``name`` in it, for examples that the model does not take.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a fastrnn layer, got {describe(model)}")
    given, inputs = len(examples.inputs), symbols(model)
    wanted = len(inputs) if inputs else 1 if isinstance(model, Sequential) else given
    if wanted != given:
        raise ValueError(f"{name} must have as many inputs as the model, {wanted}, got {given}")
    if inputs:
        examples = examples.with_axes([_time_axis(symbol) for symbol in inputs])
    else:
        axes = _input_axes(name, examples, model)
        examples = examples if axes is None else examples.with_axes(axes)
        examples = examples.with_fields([_ordered(field, is_batch_first(model)) for field in examples.inputs])
    return _with_targets(examples, model)


def _time_axis(symbol: Symbol) -> Axis:
    """Return an input's time axis: its name, its fixed size, or None. The first axis is time if the second is "B"."""
    return symbol.shape[0] if symbol.spec.sequence else None


def _input_axes(name: str, examples: Examples, model: Layer) -> list[Axis] | None:
    """Return the inputs' time axes for a layer that is not a Model; None if the examples' own axes hold."""
    if any(_undeclared(model)) or len(examples.inputs) > 1:
        _check_declared(name, examples, model)
        return None
    (field,) = examples.inputs
    if field.lengths is None:
        return _axes_of_array(name, field, model)
    same = field.lengths.min() == field.lengths.max()  # otherwise the list cannot be meant as an array
    if same and _refusal(model, _spec(field, is_batch_first(model))) and not _refusal(model, _rows(field)):
        raise ValueError(f"{name} inputs must be without time for this model, an array [N, ...], got a list of sequences")
    return None


def _check_declared(name: str, examples: Examples, model: Layer) -> None:
    """Raise ValueError if neither the model nor the examples declare the time axis, because shapes cannot tell."""
    layer = next(_undeclared(model), model)
    inside = [below for below in _below(layer) if is_batch_first(below)]
    if inside and not hasattr(layer, "batch_first"):
        raise ValueError(
            f"{type(layer).__name__} has a layer with batch_first in it: say in its class whether its own x is so, "
            "batch_first = True ([B, T, ...]) or False ([T, B, ...])"
        )
    if _over_time(layer) and not examples.declared and any(map(_maybe_sequences, examples.inputs)):
        raise ValueError(
            f"{name} has an array that may be sequences [N, T, ...], and {type(layer).__name__} does not say where it reads "
            "time: name the time axis of each input, None for one without, as in Examples(x, y, axes=('T',)), or, for one "
            "input, set takes_lengths = True ([T, B, ...]) or batch_first = True in its class"
        )


def _axes_of_array(name: str, field: Field, model: Layer) -> list[Axis] | None:
    batch_first = is_batch_first(model)
    as_rows = _refusal(model, _rows(field))
    if as_rows is None and not batch_first:
        return None
    as_sequences = None
    if field.rows.ndim > 1:
        sequences, steps = field.as_sequences(), field.rows.shape[1]
        as_sequences = _refusal(model, _spec(sequences, batch_first))
        if as_sequences is None:
            return [TIME]
        if as_rows is not None and _refusal(model, _spec(sequences, batch_first, steps)) is None:
            return [steps]  # because an inner Model has a fixed number of steps
    if as_rows is None:
        return None
    why = as_sequences if as_sequences is not None and _maybe_sequences(field) else as_rows
    raise type(why)(f"{name} inputs: {why}")


def _refusal(model: Layer, spec: Spec) -> TypeError | ValueError | None:
    """Return the error with which the model refuses arrays of this spec; None if it takes them."""
    try:
        model.infer(spec)
    except (TypeError, ValueError) as error:
        return error
    return None


def _rows(field: Field) -> Spec:
    """Return the spec of a batch without time; sequences of one length count as an array ``[N, T, ...]``."""
    steps = () if field.lengths is None else (int(field.lengths[0]),)
    return Spec(("B", *steps, *field.rows.shape[1:]), field.rows.dtype.name)


def _spec(field: Field, batch_first: bool, time: str | int = TIME) -> Spec:
    """Return the spec of a batch of a field's sequences."""
    first: tuple[str | int, ...] = ("B", time) if batch_first else (time, "B")
    return Spec((*first, *field.rows.shape[1:]), field.rows.dtype.name)


def _maybe_sequences(field: Field) -> bool:
    """Return whether a field is an array that may hold sequences, of ids or of vectors."""
    return field.lengths is None and field.rows.ndim >= (2 if field.is_ids else 3)


def _undeclared(model: Layer) -> Iterator[Layer]:
    """Yield the layers that contain layers over time and do not declare how they read time themselves."""
    if isinstance(model, Sequential):
        for layer in model.layers:
            yield from _undeclared(layer)
    elif type(model).infer is Layer.infer and any(_over_time(below) for below in _below(model)):
        declares = model.takes_lengths and not any(map(is_batch_first, _below(model)))
        if not (declares or hasattr(model, "batch_first")):
            yield model


def _below(layer: Layer) -> list[Layer]:
    return [below for _, below in layer.children()]


def _over_time(layer: Layer) -> bool:
    return layer.reads_time or isinstance(layer, RecurrentCell) or any(map(_over_time, _below(layer)))


def _ordered(field: Field, batch_first: bool) -> Field:
    return replace(field, batch_first=batch_first and field.lengths is not None)


def _with_targets(examples: Examples, model: Layer) -> Examples:
    """Return the examples with the axes of each target taken from the output that it belongs to."""
    if not any(field.lengths is not None or field.rows.ndim > 1 for field in examples.targets):
        return examples
    known_order = not is_batch_first(model) and all(field.lengths is not None for field in examples.inputs)
    if known_order and all(field.lengths is not None for field in examples.targets):
        return examples.with_fields(targets=[_ordered(field, False) for field in examples.targets])
    outputs = list(flat(output_specs(model, examples)))
    one_each = len(outputs) == len(examples.targets)
    pairs = [(field, outputs[i if one_each else 0]) for i, field in enumerate(examples.targets)]
    return examples.with_fields(targets=[_like(field, spec, examples, one_each) for field, spec in pairs])


def _like(field: Field, output: Spec, examples: Examples, certain: bool) -> Field:
    """Return targets with the axes of an output. Sizes decide unless it is ``certain`` that they belong together."""
    batch_first = output.shape[:1] == ("B",)
    if field.lengths is None:
        steps = output.shape[1:2] if batch_first else output.shape[:1]
        sequence = isinstance(next(iter(steps), None), str) if batch_first else output.shape[1:2] == ("B",)
        if not sequence or field.rows.ndim < 2 or not (certain or _same_steps(field, steps[0], examples)):
            return field
        field = field.as_sequences()
    return _ordered(field, batch_first)


def _same_steps(field: Field, axis: Axis, examples: Examples) -> bool:
    steps = lengths_of(axis, examples.time_axes()) if isinstance(axis, str) else axis
    return steps is not None and bool(np.all(steps == field.rows.shape[1]))
