"""Execution plan of a chain, in which value i + 1 is the first output of the layer that takes value i.

x's axes are unknown before a call, so lengths are tracked by value: ``{number: lengths}`` holds each value with a time axis,
and its lengths are None if all sequences are as long as the axis.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .._core.checks import describe
from ..layers._symbolic.padding import require_defined_on_padding
from ..layers._symbolic.time_first import TimeFirst, keeps_time
from ..layers.base import Layer
from .plan import Plan, Step, Values
from .streaming import Stream

Lengths = dict[int, NDArray[Any] | None]


class Link(Step):
    """Step that runs a layer of a chain."""

    __slots__ = ()
    outputs: int

    def keywords(self, lengths: Lengths) -> dict[str, Any]:
        """Return the options, and x's lengths if the layer takes lengths; see :class:`Step`."""
        found = lengths.get(self.args[0])
        if found is None:
            return self.options
        if self.layer.takes_lengths:
            return {"lengths": found}
        require_defined_on_padding(self.layer)
        return self.options

    def pass_lengths(self, lengths: Lengths, values: Values) -> None:
        """Add y's lengths, unless the layer removes the time axis."""
        x, y = self.args[0], self.outputs
        if x in lengths and keeps_time(self.layer, values[x], values[y]):
            found = lengths[x]
            lengths[y] = None if found is None else self.layer.lengths_after(found)


class ChainPlan(Plan):
    """Plan of a chain of layers. If one of them has ``batch_first``, all sequences in the chain are ``[B, T, ...]``."""

    def __init__(self, layers: list[Layer]) -> None:
        require_layers(layers)
        self.layers, self.batch_first = list(layers), any_batch_first(layers)
        nested = any(hasattr(layer, "layers") for layer in layers)
        self._swaps = swaps(layers) if nested else None
        steps: list[Step] = [Link(layer, (i,), i + 1, {}) for i, layer in enumerate(laid_out(layers))]
        super().__init__(steps, len(steps), len(steps) + 1)
        self.stream = Stream(self)

    def is_current(self, layers: list[Layer]) -> bool:
        """Return whether this is still the plan of the layers, because inner layers of some may have changed."""
        if self.layers != layers:
            return False
        return self._swaps is None or (self.batch_first, self._swaps) == (any_batch_first(layers), swaps(layers))


def require_layers(layers: list[Any]) -> None:
    """Raise TypeError for an item that is not a layer, which a caller may have appended, ValueError without layers."""
    for i, item in enumerate(layers):
        if not isinstance(item, Layer):
            raise TypeError(f"layers must be fastrnn layers, got {describe(item)} at index {i}")
    if not layers:
        raise ValueError("layers must hold at least one layer, got none")


def swaps(layers: list[Layer]) -> list[bool]:
    """Return which layers need another order of time and batch than the chain's."""
    batch_first = any_batch_first(layers)
    return [batch_first and (x.reads_time or x.makes_time) and not is_batch_first(x) for x in layers]


def laid_out(layers: list[Layer]) -> list[Layer]:
    """Return the layers, each wrapped if it needs another order of time and batch than the chain's."""
    return [TimeFirst(x) if swapped else x for x, swapped in zip(layers, swaps(layers), strict=True)]


def any_batch_first(layers: list[Layer]) -> bool:
    """Return True if a chain of these layers takes ``[B, T, ...]``."""
    return any(map(is_batch_first, layers))


def is_batch_first(layer: Layer) -> bool:
    """Return True if a layer's sequences are ``[B, T, ...]``."""
    return bool(getattr(layer, "batch_first", False))
