"""Execution plan of a graph, which numbers the symbols and finds lengths by time axis."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..layers._symbolic.padding import require_defined_on_padding
from ..layers._symbolic.symbols import UNKNOWN, Axis, Nest, Node, Symbol, flat, mapped
from ..layers._symbolic.time_axes import lengths_of
from .plan import Plan, Step
from .trace import Graph

Lengths = dict[Axis, NDArray[Any]]  # by time axis


class Call(Step):
    """Step that runs a node."""

    __slots__ = ("node", "specs")

    def __init__(self, node: Node, args: tuple[Nest, ...], outputs: Nest) -> None:
        super().__init__(node.layer, args, outputs, node.options)
        self.node = node
        self.specs = mapped(node.args, lambda symbol: symbol.spec)

    def keywords(self, lengths: Lengths) -> dict[str, Any]:
        """Return the options and the lengths that the layer picks; see :class:`Step`."""
        if not self.layer.takes_lengths:
            if any(spec.time == UNKNOWN or lengths_of(spec.time, lengths) is not None for spec in flat(self.specs)):
                require_defined_on_padding(self.layer)
            return self.options
        found = self.layer.pick_lengths(self.specs, lengths)
        return self.options if found is None else self.options | {"lengths": found}


class GraphPlan(Plan):
    """Plan of a graph, and the number of each symbol: first the inputs, then each node's outputs."""

    steps: list[Call]  # type: ignore[assignment]

    def __init__(self, graph: Graph) -> None:
        self.numbers: dict[Symbol, int] = {symbol: i for i, symbol in enumerate(graph.flat_inputs)}
        for node in graph.nodes:
            for symbol in flat(node.outputs):
                self.numbers.setdefault(symbol, len(self.numbers))
        given = set(graph.flat_inputs)

        def made(symbol: Symbol) -> int | None:
            return None if symbol in given else self.numbers[symbol]

        self.input_numbers = self.numbered(graph.inputs)
        steps: list[Step] = [Call(node, self.numbered(node.args), mapped(node.outputs, made)) for node in graph.nodes]
        super().__init__(steps, self.numbered(graph.outputs), len(self.numbers))

    def numbered(self, symbols: Nest) -> Nest:
        """Return the numbers of a nest of symbols."""
        return mapped(symbols, self.numbers.__getitem__)
