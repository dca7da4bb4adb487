"""Keras layers and tensors of a model under construction.

A value is a Keras tensor, whose first axis is the batch and whose other axes keep their order. A value of states
``[L*D, B, H]`` may also be a list of tensors ``[B, H]``, because Keras has an output for each state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from ...graph.trace import unused
from ...layers._symbolic.symbols import Nest, Spec
from ...layers.base import Layer

Value = Any
Values = tuple[Nest, ...]
Specs = tuple[Nest, ...]


class Builder:
    """Keras layers under construction: a layer that is called twice is one Keras layer.

    ``masks``
        True if padding is to be masked.
    ``outputs_read``, ``states_read``
        The ids of recurrent layers whose y, or whose final state, anything reads.
    """

    def __init__(self, masks: bool) -> None:
        self.masks = masks
        self.outputs_read: set[int] = set()
        self.states_read: set[int] = set()
        self._made: dict[int, Any] = {}
        self._taken: set[str] = set()

    def once(self, layer: Layer, make: Callable[[], Any]) -> Any:
        """Return the result of ``make()``, which runs at the layer's first call only."""
        if id(layer) not in self._made:
            self._made[id(layer)] = make()
        return self._made[id(layer)]

    def name(self, stem: str) -> str:
        """Return a name that no other layer has: the stem, or the stem with a number."""
        name = unused(stem, self._taken)
        self._taken.add(name)
        return name

    def name_of(self, layer: Layer, suffix: str = "") -> str:
        """Return a name for a layer's Keras layer."""
        return self.name((layer.name or type(layer).__name__.lower()).replace("/", "_") + suffix)

    def require_no_mask(self, spec: Spec) -> None:
        """Raise ValueError for a sequence, whose mask Keras would lose."""
        if self.masks and any(isinstance(axis, str) and axis != "B" for axis in spec.shape):
            raise ValueError("Keras does not pass its mask on, so mask_zero must be False")


def whole(value: Value) -> Any:
    """Return a value as one tensor; states become ``[B, L*D, H]``."""
    return ops.stack(value, axis=1) if isinstance(value, list) else value


def states_of(value: Value, count: int) -> list[Any]:
    """Return a value of ``count`` states as a list of tensors ``[B, H]``."""
    return value if isinstance(value, list) else [value[:, i] for i in range(count)]


def order_of(spec: Spec) -> list[int]:
    """Return the order of a spec's axes in Keras. Raises ValueError for a value without a batch."""
    if "B" not in spec.shape:
        raise ValueError(f"every value must have a batch axis B, got {spec}")
    batch = spec.shape.index("B")
    return [batch, *(axis for axis in range(len(spec.shape)) if axis != batch)]


def axis_in_keras(axis: int, spec: Spec) -> int:
    """Return where an axis of a spec lies in Keras."""
    return order_of(spec).index(axis % len(spec.shape))
