"""Values of an ONNX graph while it becomes a model: symbols, directions side by side, sizes, and zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...layers._symbolic.symbols import Axis, Symbol


@dataclass(frozen=True, slots=True)
class Value:
    """A symbol, whose first axis is time if it has one; ``swapped`` if ONNX's value has batch first."""

    symbol: Symbol
    swapped: bool = False

    @property
    def shape(self) -> tuple[Axis, ...]:
        """Axes of ONNX's value."""
        shape = self.symbol.shape
        return (shape[1], shape[0], *shape[2:]) if self.swapped else shape

    def through(self, layer: Any, *others: Value) -> Value:
        """Return the layer's output, whose axes are in the same order."""
        return Value(layer(self.symbol, *(other.symbol for other in others)), self.swapped)


@dataclass(frozen=True, slots=True)
class Directions:
    """Output Y of a recurrent node, for the symbol ``y [T, B, D*H]``; ``axes`` are Y's axes in order, such as TDBH."""

    symbol: Symbol
    count: int
    axes: str

    def value(self) -> Value:
        """Return y. Axis D must have been removed or moved next to H."""
        return Value(self.symbol, self.axes.startswith("B"))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes as Shape gives them, some of them letters; ``single`` if they are one number without an axis."""

    axes: tuple[Axis, ...]
    single: bool = False


@dataclass(frozen=True, slots=True)
class Zero:
    """Zeros of any shape, such as an initial state."""


Anything = Value | Directions | Sizes | Zero | np.ndarray[Any, Any] | None
