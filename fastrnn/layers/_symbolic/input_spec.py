"""The spec of the input of a chain of layers, as far as the layers tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..base import Layer
from .symbols import Axis, Spec, Symbol

SIZES = ("input_size", "in_features", "features")  # what layers call the length of x's last axis


def input_spec(model: Layer, shape: Sequence[Axis] | None, dtype: str | None) -> Spec:
    """The spec of a model's x: as it is given, or as the first layer that knows of a size or of ids has it.

    Raises ValueError where none does.
    """
    layers = list(leaves(model))
    knowing = next((x for x in layers if x.takes_ids or _size(x) or _symbol(x) is not None), None)
    symbol = _symbol(knowing)
    if symbol is not None:
        return Spec(_ordered(model, symbol.spec) if shape is None else tuple(shape), dtype or symbol.dtype)
    ids = knowing is not None and knowing.takes_ids
    if dtype is None:
        dtype = "int64" if ids else str(getattr(knowing, "dtype", "float32"))
    if shape is not None:
        return Spec(tuple(shape), dtype)
    if knowing is None:
        raise ValueError("shape must be given, such as ('T', 'B', 64): no layer says what x is")
    first: tuple[Axis, ...] = ("B",)
    if model.reads_time:
        first = ("B", "T") if getattr(model, "batch_first", False) else ("T", "B")
    return Spec(first if ids else (*first, _size(knowing)), dtype)


def leaves(layer: Layer) -> Iterator[Layer]:
    """The layers of a Sequential and of those in it, in order; any other layer itself."""
    below: Any = getattr(layer, "layers", None)
    if isinstance(below, list):
        for item in below:
            yield from leaves(item)
    else:
        yield layer


def _symbol(layer: Layer | None) -> Symbol | None:
    """The one input of a Model, which says all of x; None of any other layer."""
    inputs = getattr(layer, "inputs", None)
    return inputs if isinstance(inputs, Symbol) else None


def _ordered(model: Layer, spec: Spec) -> tuple[Axis, ...]:
    swapped = spec.sequence and getattr(model, "batch_first", False)
    return (spec.shape[1], spec.shape[0], *spec.shape[2:]) if swapped else spec.shape


def _size(layer: Layer) -> int:
    return next((size for name in SIZES if isinstance(size := getattr(layer, name, None), int)), 0)
