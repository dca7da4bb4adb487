"""Lengths, from one layer of a chain to the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from .._recurrent.embedding_table import EmbeddedRecurrent
from ..base import Layer
from .padding import require_defined_on_padding
from .time_first import keeps_time

Array = NDArray[Any]


def options_of(layer: Layer | EmbeddedRecurrent, lengths: Any) -> dict[str, Any]:
    """The lengths, for a layer that takes them. Raises ValueError for one that would read padding."""
    if lengths is None:
        return {}
    if isinstance(layer, EmbeddedRecurrent) or layer.takes_lengths:
        return {"lengths": lengths}
    require_defined_on_padding(layer)
    return {}


def handed_on(layer: Layer | EmbeddedRecurrent, lengths: Any, x: Array, y: Array) -> Any:
    """The lengths for the next layer: none after one that takes the time axis away."""
    if lengths is None or not keeps_time(layer, x, y):
        return None
    return lengths if isinstance(layer, EmbeddedRecurrent) else layer.lengths_after(lengths)


def lengths_through(layers: Iterable[Layer], lengths: Any) -> Any:
    """The lengths after a chain of layers; None where one takes the time axis away, even if a later one makes another."""
    for layer in layers:
        if lengths is None or layer.gives_time is False:
            return None
        lengths = layer.lengths_after(lengths)
    return lengths
