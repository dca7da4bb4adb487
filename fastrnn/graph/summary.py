"""A model as a table."""

from __future__ import annotations

from ..layers.symbols import Nest, Symbol, flat
from .trace import Graph

HEADER = ("Layer (type)", "Output shape", "Parameters", "Connected to")
Row = tuple[str, str, str, str]


def summary(name: str, graph: Graph, count: int, nbytes: int) -> str:
    """Each input and each call: name and type, shapes, parameters, what it is connected to; the total below.

    Parameters that a row above has counted are "shared".
    """
    groups = [[(f"{n} (Input)", _shape(s), "0", "-")] for n, s in zip(graph.input_names, graph.flat_inputs, strict=True)]
    seen: set[int] = set()  # parameters: those of a layer may be those of a model, too, that it is within
    for node in graph.nodes:
        sizes = {id(p): p.size for p in node.layer.parameters()}
        fresh = sum(size for key, size in sizes.items() if key not in seen)
        counted = f"{fresh:,}" if not sizes.keys() & seen else f"{fresh:,} + shared" if fresh else "shared"
        seen |= sizes.keys()
        title = f"{graph.call_name(node)} ({type(node.layer).__name__})"
        first = (title, "", counted, "")
        groups.append(_lines(first, _shapes(node.outputs), [graph.symbol_names[s] for s in flat(node.args)]))
    outputs = ", ".join(graph.symbol_names[symbol] for symbol in graph.flat_outputs)
    rows = [HEADER, *(row for group in groups for row in group)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    right = 2  # numbers
    lines = [
        "  ".join(
            cell.rjust(w) if i == right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    total = f"Outputs: {outputs}\nParameters in all: {count:,} ({_bytes(nbytes)})"
    return "\n".join([f"Model: {name}", rule, lines[0].rstrip(), rule, *(line.rstrip() for line in lines[1:]), rule, total])


def _lines(first: Row, shapes: list[str], sources: list[str]) -> list[Row]:
    """A call's rows: one for each shape and each source, the rest of it in the first."""
    height = max(len(shapes), len(sources))
    shapes, sources = shapes + [""] * (height - len(shapes)), sources + [""] * (height - len(sources))
    lines: list[Row] = [("", shape, "", source) for shape, source in zip(shapes, sources, strict=True)]
    lines[0] = (first[0], shapes[0], first[2], sources[0])
    return lines


def _shapes(outputs: Nest) -> list[str]:
    return [_shape(symbol) for symbol in flat(outputs)]


def _shape(symbol: Symbol) -> str:
    return symbol.spec.axes


def _bytes(count: int) -> str:
    size, units = float(count), ["bytes", "KB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.{0 if units[0] == 'bytes' else 1}f} {units[0]}"
