"""Summary of a model as a table."""

from __future__ import annotations

from ..layers._symbolic.symbols import Spec, flat
from ..layers.base import Layer
from .trace import Graph

HEADER = ("Layer (type)", "Output shape", "Parameters", "Connected to")
Row = tuple[str, str, str, str]


def summary(name: str, graph: Graph, count: int, nbytes: int) -> str:
    """Return a table of all inputs and calls: name, type, shapes, parameters and connections, with the total below.

    Parameters counted in an earlier row appear as "shared".
    """
    table = Table()
    for input_name, symbol in zip(graph.input_names, graph.flat_inputs, strict=True):
        table.add_input(input_name, symbol.spec)
    for node in graph.nodes:
        specs = [symbol.spec for symbol in flat(node.outputs)]
        table.add(graph.call_name(node), node.layer, specs, [graph.symbol_names[s] for s in flat(node.args)])
    outputs = ", ".join(graph.symbol_names[symbol] for symbol in graph.flat_outputs)
    return table.text(name, outputs, count, nbytes)


class Table:
    """Rows of a model's table: its inputs, and the calls of its layers."""

    def __init__(self) -> None:
        self._rows = [HEADER]
        self._counted: set[int] = set()  # ids of parameters, because a nested model's parameters are also its layers'

    def add_input(self, name: str, spec: Spec) -> None:
        """Add a row for an input."""
        self._rows.append((f"{name} (Input)", spec.axes, "0", "-"))

    def add(self, name: str, layer: Layer, outputs: list[Spec], sources: list[str]) -> None:
        """Add the rows of a layer's call, as many as it has outputs or sources."""
        sizes = {id(p): p.size for p in layer.parameters()}
        fresh = sum(size for key, size in sizes.items() if key not in self._counted)
        text = f"{fresh:,}" if not sizes.keys() & self._counted else f"{fresh:,} + shared" if fresh else "shared"
        self._counted |= sizes.keys()
        first = (f"{name} ({type(layer).__name__})", "", text, "")
        self._rows += _lines(first, [spec.axes for spec in outputs], sources)

    def text(self, name: str, outputs: str, count: int, nbytes: int) -> str:
        """Return the table, with the model's name above it and the outputs and total below."""
        widths = [max(len(row[i]) for row in self._rows) for i in range(4)]
        right = 2  # numbers
        lines = [
            "  ".join(
                cell.rjust(w) if i == right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in self._rows
        ]
        rule = "-" * max(map(len, lines))
        total = f"Outputs: {outputs}\nParameters in all: {count:,} ({_bytes(nbytes)})"
        return "\n".join(
            [f"Model: {name}", rule, lines[0].rstrip(), rule, *(line.rstrip() for line in lines[1:]), rule, total]
        )


def _lines(first: Row, shapes: list[str], sources: list[str]) -> list[Row]:
    """Return a call's rows: shapes and sources one below the other, name and parameters in the first row."""
    height = max(len(shapes), len(sources))
    shapes, sources = shapes + [""] * (height - len(shapes)), sources + [""] * (height - len(sources))
    lines: list[Row] = [("", shape, "", source) for shape, source in zip(shapes, sources, strict=True)]
    lines[0] = (first[0], shapes[0], first[2], sources[0])
    return lines


def _bytes(count: int) -> str:
    size, units = float(count), ["bytes", "KB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.{0 if units[0] == 'bytes' else 1}f} {units[0]}"


def sizes(layer: Layer) -> tuple[int, int]:
    """Return the number of a layer's parameters and their size in bytes."""
    parameters = layer.parameters()
    return sum(p.size for p in parameters), sum(p.size * p.dtype.itemsize for p in parameters)
