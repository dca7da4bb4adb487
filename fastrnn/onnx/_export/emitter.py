"""Nodes and constants of an ONNX graph under construction. A value is its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ...graph.trace import unused
from ...layers._symbolic.symbols import Axis

OPSET = 17
IR_VERSION = 8


class Emitter:
    """A graph under construction; ``lengths`` has the name of the input with the lengths of each time axis."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.lengths: dict[Axis, str] = {}
        self._taken: set[str] = set()
        self._known: dict[tuple[Any, ...], str] = {}

    def take(self, stem: str) -> str:
        """Return a name that no other value has: the stem, or the stem with a number."""
        name = unused(stem, self._taken)
        self._taken.add(name)
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        return self.nodes_of(op, inputs, 1, **attributes)[0]

    def nodes_of(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs, and return their names."""
        from onnx import helper

        names = [self.take(op.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **attributes))
        return names

    def constant(self, array: Array, stem: str = "constant") -> str:
        """Add a constant, once for equal values, and return its name."""
        from onnx import numpy_helper

        array = np.array(array, order="C")
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._known:
            self._known[key] = self.take(stem)
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def ints(self, *values: int) -> str:
        """Add a constant of integers ``[n]``."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float, dtype: str) -> str:
        """Add a constant without axes."""
        return self.constant(np.array(value, dtype))

    def swapped(self, x: str, ndim: int) -> str:
        """Return a value with its first two axes swapped."""
        return self.node("Transpose", x, perm=[1, 0, *range(2, ndim)])
