"""Execution plan of a chain, in which value i + 1 is the first output of the layer that takes value i.

x's axes are unknown before a call, so lengths are tracked by value: ``{number: lengths}`` holds each value with a time axis,
and its lengths are None if all sequences are as long as the axis.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

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
    """Plan of a chain of layers, whose sequences are ``[B, T, ...]`` with ``batch_first``."""

    def __init__(self, layers: list[Layer], batch_first: bool) -> None:
        self.layers, self.batch_first = list(layers), batch_first
        self.nested = any(hasattr(layer, "layers") for layer in layers)
        steps: list[Step] = [Link(layer, (i,), i + 1, {}) for i, layer in enumerate(laid_out(layers, batch_first))]
        super().__init__(steps, len(steps), len(steps) + 1)
        self.stream = Stream(self)


def laid_out(layers: list[Layer], batch_first: bool) -> list[Layer]:
    """Return the layers, each wrapped if it needs another order of time and batch than the chain's."""
    if not batch_first:
        return layers
    return [TimeFirst(x) if (x.reads_time or x.makes_time) and not is_batch_first(x) else x for x in layers]


def is_batch_first(layer: Layer) -> bool:
    """Return True if a layer's sequences are ``[B, T, ...]``."""
    return bool(getattr(layer, "batch_first", False))
