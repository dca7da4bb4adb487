"""Keras' operators that have counterparts here: a part of a tensor, and tensors stacked along a new axis."""

from __future__ import annotations

from typing import Any

from .. import layers
from ._file import KerasLayer

ALL = slice(None)


def items_of(layer: KerasLayer) -> list[int | slice] | None:
    """Return the index of ``x[index]``, an item for each of the first axes; None for one that has no counterpart."""
    key = layer.calls[0][0][1]
    items = [_item(item) for item in (key if isinstance(key, list) else [key])]
    return items if items[0] == ALL and all(isinstance(item, (int, slice)) for item in items) else None


def _item(item: Any) -> Any:
    if isinstance(item, dict) and item.get("class_name") == "__slice__":
        return slice(*(item["config"][name] for name in ("start", "stop", "step")))
    return item


def get_item(layer: KerasLayer, ours: list[Any], symbols: list[Any]) -> list[Any]:
    """Return the part of a tensor, whose batch is not sliced."""
    spec, items = symbols[0].spec, items_of(layer)
    assert items is not None
    items += [ALL] * (len(spec.shape) - len(items))
    if spec.sequence:
        items[:2] = items[1], items[0]
    return [layers.Slice(tuple(items))(symbols[0])]


def stack(layer: KerasLayer, ours: list[Any], symbols: list[Any]) -> list[Any]:
    """Return stacked tensors. Those without time, stacked after the batch, become steps ``[n, B, ...]``."""
    spec = symbols[0].spec
    axis = layer.config["axis"] % (len(spec.shape) + 1)
    if axis == 0 or (spec.sequence and axis == 1):
        raise ValueError(f"{layer.name} must stack tensors along an axis after batch and time, got axis {axis}")
    return [layers.Stack(0 if axis == 1 else axis)(*symbols)]
