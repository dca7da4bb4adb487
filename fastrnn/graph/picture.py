"""Pictures of models. Matplotlib is imported only when one is drawn, and its global state does not change."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..layers._recurrent.base import Recurrent
from ..layers._recurrent.cell_layers import RecurrentCell
from ..layers._symbolic.symbols import Symbol, flat
from ..layers.base import Layer
from ..layers.dense import Embedding, Linear, OneHot
from ..serialization import PathLike, write_atomically
from .layout import Layout, Point
from .trace import Graph

ENDINGS = (".png", ".svg", ".pdf")
ROW, HEIGHT = 1.25, 0.72  # inches from row to row, and of a box
LETTER = 0.078  # inches of a letter in a box
COLOURS = {
    "input": "#e5e7eb",
    "recurrent": "#bfdbfe",
    "ids": "#bbf7d0",
    "linear": "#fed7aa",
    "model": "#ddd6fe",
    "other": "#f5f5f4",
}
INK, STATE_INK = "#374151", "#c2410c"


@dataclass
class Box:
    """Box with lines of text, the first in bold."""

    lines: list[str]
    colour: str
    round: bool = False
    sources: dict[str, str] = field(
        default_factory=dict
    )  # maps the box at the start of each incoming edge to the edge's label

    @property
    def width(self) -> float:
        """The width in inches."""
        return max(1.1, 0.3 + LETTER * max(len(self.lines[0]) * 1.1, *map(len, self.lines)))


def draw(path: PathLike, graph: Graph) -> None:
    """Draw a graph: a box for each input, call and output, dashed edges for states. See :meth:`Model.plot`."""
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ValueError(f"path must end in {', '.join(ENDINGS)}, got {str(path)!r}")
    from matplotlib.figure import Figure

    boxes = _boxes(graph)
    edges = [(source, name) for name, box in boxes.items() for source in box.sources]
    layout = Layout({name: box.width for name, box in boxes.items()}, edges)
    width, height = layout.width + 0.4, (layout.rows - 1) * ROW + HEIGHT + 0.4
    figure = Figure(figsize=(width, height), dpi=130)
    axes = figure.add_axes(
        (0, 0, 1, 1), xlim=(-0.2, layout.width + 0.2), ylim=(height - HEIGHT / 2 - 0.2, -HEIGHT / 2 - 0.2)
    )
    axes.set_axis_off()
    for source, target in edges:
        way = [(x, row * ROW) for x, row in layout.way((source, target))]
        _draw_edge(axes, way, boxes[target].sources[source])
    for name, box in boxes.items():
        x, row = layout.center[name]
        _draw_box(axes, (x, row * ROW), box)
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:])
    write_atomically(path, picture.getvalue())


def _boxes(graph: Graph) -> dict[str, Box]:
    """Return the boxes by name: inputs, then calls in order, then outputs."""
    owners: dict[Symbol, str] = {}
    boxes: dict[str, Box] = {}
    for name, symbol in zip(graph.input_names, graph.flat_inputs, strict=True):
        owners[symbol] = name
        boxes[name] = Box([name, str(symbol.spec)], COLOURS["input"], round=True)
    layers = [node.layer for node in graph.nodes]
    for node in graph.nodes:
        name = graph.call_name(node)
        text = _text(name, node.layer, next(flat(node.outputs)), shared=layers.count(node.layer) > 1)
        boxes[name] = Box(text, _colour(node.layer))
        for symbol in flat(node.args):
            boxes[name].sources[owners[symbol]] = _label(symbol)
        for symbol in flat(node.outputs):
            owners.setdefault(symbol, name)
    several = len(graph.flat_outputs) > 1
    for i, symbol in enumerate(graph.flat_outputs):
        title = f"output {i + 1}" if several else "output"
        boxes[f"\0{i}"] = Box([title, str(symbol.spec)], COLOURS["input"], True, {owners[symbol]: _label(symbol)})
    return boxes


def _text(name: str, layer: Layer, output: Symbol, shared: bool) -> list[str]:
    """Return a call's text: name and class, the options if they are short, the first output's shape."""
    kind, name = type(layer).__name__, name.partition("#")[0]
    title = kind if name.rstrip("_0123456789") == kind.lower() else f"{name}: {kind}"
    options = layer.extra_repr()
    lines = [title + " (shared)" * shared, options if len(options) <= 30 else "", output.spec.axes]
    return [line for line in lines if line]


def _colour(layer: Layer) -> str:
    kinds: list[tuple[str, tuple[type, ...]]] = [
        ("recurrent", (Recurrent, RecurrentCell)),
        ("ids", (Embedding, OneHot)),
        ("linear", (Linear,)),
    ]
    found = [kind for kind, classes in kinds if isinstance(layer, classes)]
    return COLOURS[found[0] if found else "model" if any(True for _ in layer.children()) else "other"]


def _label(symbol: Symbol) -> str:
    """Return an edge's label: empty for a layer's first output."""
    recurrent = symbol.node is not None and symbol.node.layer.carries_state
    if not symbol.path or symbol.path == (0,):
        return ""
    if recurrent:
        return "state" if symbol.path[0] == 1 else "cell states"
    return "".join(f"[{i}]" for i in symbol.path)


def _draw_box(axes: Any, center: Point, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = center
    corner = (x - box.width / 2, y - HEIGHT / 2)
    style = f"round,pad=0,rounding_size={HEIGHT / 2 if box.round else 0.07}"
    axes.add_patch(
        FancyBboxPatch(
            corner, box.width, HEIGHT, boxstyle=style, facecolor=box.colour, edgecolor=INK, linewidth=0.8, zorder=2
        )
    )
    spacing = 0.2
    top = y - spacing * (len(box.lines) - 1) / 2
    for i, line in enumerate(box.lines):
        weight = "bold" if i == 0 else "normal"
        size = 9.5 if i == 0 else 8
        axes.text(x, top + i * spacing, line, ha="center", va="center", size=size, weight=weight, color="#111827", zorder=3)


def _draw_edge(axes: Any, way: list[Point], label: str) -> None:
    """Draw a smooth line between two boxes that passes the rows between them vertically."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Line

    points = [(way[0][0], way[0][1] + HEIGHT / 2)]
    for x, y in way[1:-1]:
        points += [(x, y - HEIGHT / 2), (x, y + HEIGHT / 2)]
    points.append((way[-1][0], way[-1][1] - HEIGHT / 2))
    vertices, codes = [points[0]], [Line.MOVETO]
    for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        if i % 2:  # straight down through a row
            vertices.append((x1, y1))
            codes.append(Line.LINETO)
        else:
            bend = (y1 - y0) / 2
            vertices += [(x0, y0 + bend), (x1, y1 - bend), (x1, y1)]
            codes += [Line.CURVE4] * 3
    ink = STATE_INK if label else INK
    style = "dashed" if label else "solid"
    axes.add_patch(
        FancyArrowPatch(
            path=Line(vertices, codes),
            arrowstyle="-|>,head_length=5,head_width=2.5",
            color=ink,
            linestyle=style,
            linewidth=1,
        )
    )
    if label:
        (x0, y0), (x1, y1) = points[0], points[1]
        background = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.text(
            (x0 + x1) / 2, (y0 + y1) / 2, label, ha="center", va="center", size=8, color=ink, bbox=background, zorder=3
        )
