"""The plan of a chain: value i + 1 is the first output of the layer that takes value i.

Nothing is known of x before a call, so lengths go along with the values: ``{number: lengths}`` has the values that have a
time axis, with None where all sequences are as long as it.
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
    """The step of a layer in a chain."""

    __slots__ = ()
    outputs: int

    def keywords(self, lengths: Lengths) -> dict[str, Any]:
        """Those of x, where the layer takes lengths; see :class:`Step`."""
        found = lengths.get(self.args[0])
        if found is None:
            return self.options
        if self.layer.takes_lengths:
            return {"lengths": found}
        require_defined_on_padding(self.layer)
        return self.options

    def hand_on(self, lengths: Lengths, values: Values) -> None:
        """Add those of y: none after a layer that takes the time axis away."""
        x, y = self.args[0], self.outputs
        if x in lengths and keeps_time(self.layer, values[x], values[y]):
            found = lengths[x]
            lengths[y] = None if found is None else self.layer.lengths_after(found)


class ChainPlan(Plan):
    """The plan of layers one after the other, which are given ``[B, T, ...]`` with ``batch_first``."""

    def __init__(self, layers: list[Layer], batch_first: bool) -> None:
        self.layers, self.batch_first = list(layers), batch_first
        self.nested = any(hasattr(layer, "layers") for layer in layers)
        steps: list[Step] = [Link(layer, (i,), i + 1, {}) for i, layer in enumerate(laid_out(layers, batch_first))]
        super().__init__(steps, len(steps), len(steps) + 1)
        self.stream = Stream(self)


def laid_out(layers: list[Layer], batch_first: bool) -> list[Layer]:
    """The layers, each for sequences as the chain has them."""
    if not batch_first:
        return layers
    return [TimeFirst(x) if (x.reads_time or x.makes_time) and not is_batch_first(x) else x for x in layers]


def is_batch_first(layer: Layer) -> bool:
    """Whether a layer says that its sequences are ``[B, T, ...]``."""
    return bool(getattr(layer, "batch_first", False))
