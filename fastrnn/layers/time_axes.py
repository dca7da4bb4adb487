"""Which axis of an array is time."""

from __future__ import annotations

from .symbols import Nest, flat


def require_time(layer: object, inputs: Nest) -> None:
    """Raise ValueError if the first of some specs does not have time where the layer reads it."""
    x = next(flat(inputs), None)
    batch_first = getattr(layer, "batch_first", False)
    if x is not None and (len(x.shape) < 2 or x.shape[0 if batch_first else 1] != "B"):
        raise ValueError(f"x must have a time axis: [{'B, T' if batch_first else 'T, B'}, ...]")
