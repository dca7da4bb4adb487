"""Shapes, words and arrows of which the pictures in this folder consist, and their colours.

A picture is an axis of 100 by `height` units, y downwards. Its background is its own, for pages light and dark.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

HERE = Path(__file__).parent
INK, SOFT, PAPER, PALE, LINE = "#222222", "#666666", "#fcfbf8", "#eceae4", "#a09c92"
GATES = {"i": "#7fb2e5", "f": "#f5b26b", "g": "#8fcf8a", "o": "#e79a9a"}
THREADS = ("#7fb2e5", "#f5b26b", "#8fcf8a")
HOT, COLD, MARK = "#f5b26b", "#cfd9e2", "#b3402a"
COLOURS = 16  # of a picture: enough for the edges of letters, and the sdist stays small
plt.rcParams |= {"font.family": "DejaVu Sans", "font.size": 8.5}


def box(a: Axes, x: float, y: float, w: float, h: float, colour: str = PALE, text: str = "", **more: object) -> None:
    """A filled rectangle with its corner at (x, y)."""
    size = more.pop("size", 8.5)
    a.add_patch(Rectangle((x, y), w, h, **{"fc": colour, "ec": LINE, "lw": 0.6, **more}))  # type: ignore[arg-type]
    if text:
        a.text(x + w / 2, y + h / 2, text, ha="center", va="center", size=size, color=INK)


def say(a: Axes, x: float, y: float, text: str, **more: object) -> None:
    """Words, from (x, y) on to the right unless `ha` says otherwise."""
    a.text(x, y, text, **{"ha": "left", "va": "center", "color": INK, "linespacing": 1.45, **more})  # type: ignore[arg-type]


def arrow(a: Axes, begin: tuple[float, float], end: tuple[float, float], **more: object) -> None:
    """Draw an arrow from one place to another."""
    style = {"arrowstyle": "-|>", "color": INK, "lw": 1.0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9, **more}
    a.annotate("", end, begin, arrowprops=style)


def picture(height: float, title: str) -> Callable[[Callable[[Axes], None]], Callable[[], Axes]]:
    """Decorate what draws into an empty picture with a title; then it takes no argument and returns the picture."""

    def decorate(draw: Callable[[Axes], None]) -> Callable[[], Axes]:
        @wraps(draw)
        def drawn() -> Axes:
            figure = plt.figure(figsize=(9, 0.09 * height), facecolor=PAPER, dpi=150)
            axis = figure.add_axes((0, 0, 1, 1))
            axis.set_xlim(0, 100)
            axis.set_ylim(height, 0)
            axis.axis("off")
            axis.add_patch(Rectangle((0, 0), 100, height, fc="none", ec=LINE, lw=1.6))
            say(axis, 3, 4, title, weight="bold", size=10)
            draw(axis)
            return axis

        return drawn

    return decorate


def frame(a: Axes, x: float, y: float, w: float, h: float) -> None:
    """A thick outline around what is spoken of."""
    a.add_patch(Rectangle((x, y), w, h, fc="none", ec=MARK, lw=1.6))


def slots(a: Axes, x: float, y: float, w: float, h: float, text: str = "") -> None:
    """One row of a gate panel: a vector of each slot, side by side; {} in the text is the slot's letter."""
    for n, (name, colour) in enumerate(GATES.items()):
        box(a, x + n * w / 4, y, w / 4, h, colour, text.replace("{}", name), lw=0.4)


def save(axis: Axes, name: str, colours: int = COLOURS) -> None:
    """Write a picture into this folder, in few colours."""
    figure = axis.figure
    figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    few = pixels.quantize(colours, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    few.save(HERE / f"{name}.png", optimize=True)
    plt.close(figure)
