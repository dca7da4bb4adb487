"""Spec of the input of a chain of layers, inferred from the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..base import Layer
from .symbols import Axis, Spec, Symbol

SIZES = ("input_size", "in_features", "features")  # layers' names for the size of x's last axis


def input_spec(model: Layer, shape: Sequence[Axis] | None, dtype: str | None) -> Spec:
    """Return the spec of a model's x.

    If ``shape`` or ``dtype`` is None, it follows from the first layer that has an input size or takes ids. Raises
    ValueError if there is no such layer.
    """
    layers = list(leaves(model))
    source = next((x for x in layers if x.takes_ids or _size(x) or _symbol(x) is not None), None)
    symbol = _symbol(source)
    if symbol is not None:
        return Spec(_ordered(model, symbol.spec) if shape is None else tuple(shape), dtype or symbol.dtype)
    ids = source is not None and source.takes_ids
    if dtype is None:
        dtype = "int64" if ids else str(getattr(source, "dtype", "float32"))
    if shape is not None:
        return Spec(tuple(shape), dtype)
    if source is None:
        raise ValueError("shape must be given, such as ('T', 'B', 64): x's size does not follow from the layers")
    first: tuple[Axis, ...] = ("B",)
    if model.reads_time:
        first = ("B", "T") if getattr(model, "batch_first", False) else ("T", "B")
    return Spec(first if ids else (*first, _size(source)), dtype)


def leaves(layer: Layer) -> Iterator[Layer]:
    """Yield the layers of a Sequential and of those nested in it, in order, or any other layer itself."""
    below: Any = getattr(layer, "layers", None)
    if isinstance(below, list):
        for item in below:
            yield from leaves(item)
    else:
        yield layer


def _symbol(layer: Layer | None) -> Symbol | None:
    """Return the input of a Model with a single input, or None for any other layer."""
    inputs = getattr(layer, "inputs", None)
    return inputs if isinstance(inputs, Symbol) else None


def _ordered(model: Layer, spec: Spec) -> tuple[Axis, ...]:
    swapped = spec.sequence and getattr(model, "batch_first", False)
    return (spec.shape[1], spec.shape[0], *spec.shape[2:]) if swapped else spec.shape


def _size(layer: Layer) -> int:
    return next((size for name in SIZES if isinstance(size := getattr(layer, name, None), int)), 0)
