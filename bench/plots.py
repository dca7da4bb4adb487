"""Pictures of the benchmark: the roofline and the heat map of ratios."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import product
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from PIL import Image

from fastrnn.benchmark.cases import CELLS, GATES, HIDDEN, Case
from fastrnn.benchmark.ceilings import Ceilings
from fastrnn.benchmark.statistics import Statistics
from fastrnn.serialization import write_atomically

SHORT = {"onednn": "oneDNN", "onednn_omp": "oneDNN omp", "onnxruntime": "ORT", "openvino": "OpenVINO", "torch": "torch"}
SHORT |= {"jax": "JAX", "keras": "Keras", "numpy": "NumPy"}
MARKERS = {"RNN": "o", "GRU": "s", "LSTM": "^"}
SHIFT = {"RNN": 0.88, "GRU": 1.0, "LSTM": 1.14}  # factor on x that separates markers of equal intensity
COLOURS = dict(zip(HIDDEN, ("#f4a582", "#e08214", "#4393c3", "#053061"), strict=True))
QUESTIONS = ("forward", "training")
CHARACTERS_PER_INCH = 10  # of a title
SLANT = 45  # angle in degrees of a line y = x on panels of this shape


def intensity(case: Case) -> float:
    """Return the operations of a forward pass per byte read from memory.

    R is read once per time step; W, x and y once per call.
    """
    gates = GATES[case.cell] * case.H
    size = 4.0 * (case.T * gates * case.H + gates * case.I + case.T * case.B * (case.I + case.H))
    return 2.0 * case.T * case.B * gates * (case.I + case.H) / size


def roofline(statistics: Sequence[Statistics], ceilings: dict[int, Ceilings], title: str, path: Path) -> None:
    """Draw the roofline to ``path``, a panel for each question and number of threads."""
    columns = sorted({f.case.threads for f in statistics})
    grid, axes = plt.subplots(
        len(QUESTIONS), len(columns), figsize=(6 * len(columns), 9), squeeze=False, layout="constrained"
    )
    for row, question in zip(axes, QUESTIONS, strict=True):
        for axis, threads in zip(row, columns, strict=True):
            some = [f for f in statistics if f.case.question == question and f.case.threads == threads]
            _roofs(axis, ceilings[threads])
            for f in some:
                x, y = SHIFT[f.case.cell] * intensity(f.case), 1e-9 * f.rate
                axis.plot(x, y, MARKERS[f.case.cell], color=COLOURS[f.case.H], ms=7, mec="white", mew=0.7, zorder=3)
            axis.set_title(f"{question}, {threads} thread{'s' * (threads > 1)}")
            axis.set_ylabel("GFLOP/s of the products")
    for axis in axes[-1]:
        axis.set_xlabel("operations per byte (forward: R once a step; W, x, y once)")
    marks = [Line2D([], [], ls="", marker=m, color="#555", label=cell) for cell, m in MARKERS.items()]
    marks += [Line2D([], [], ls="", marker="o", color=c, label=f"H = {H}") for H, c in COLOURS.items()]
    axes[0][0].legend(handles=marks, loc="lower right", fontsize=8, ncols=2)
    grid.suptitle(title)
    _save(grid, path)


def _roofs(axis: Any, ceilings: Ceilings) -> None:
    """Draw the peak of the processor and the limit that each level of memory sets."""
    peak = 1e-9 * ceilings.fma
    xs = np.geomspace(0.3, 200, 100)
    axis.axhline(peak, color="#b2182b", lw=1.5)
    axis.text(190, peak * 1.05, f"fma {peak:.0f} GFLOP/s", color="#b2182b", ha="right", va="bottom", fontsize=8)
    for shade, (level, rate) in zip((0.35, 0.45, 0.55, 0.65), ceilings.read.items(), strict=True):
        slope = 1e-9 * rate
        below = xs[xs * slope <= peak]
        axis.plot(below, below * slope, color=str(shade), lw=1, ls="--", zorder=1)
        if len(below):
            at = max(0.33, peak / 40 / slope)
            label = {"color": str(shade), "fontsize": 8, "rotation": SLANT, "rotation_mode": "anchor", "va": "bottom"}
            axis.text(at, at * slope * 1.04, f"{level} {slope:.0f} GB/s", **label)
    axis.set(xscale="log", yscale="log", xlim=(0.3, 200), ylim=(peak / 50, peak * 1.6))
    axis.set_xticks([0.3, 1, 3, 10, 30, 100], ["0.3", "1", "3", "10", "30", "100"])
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if peak / 50 < tick < peak * 1.6]
    axis.set_yticks(ticks, [str(tick) for tick in ticks])
    for values in (axis.xaxis, axis.yaxis):
        values.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.2, which="both")


def heat_map(statistics: Sequence[Statistics], title: str, path: Path) -> None:
    """Draw the ratio to the fastest peer, with that peer's name, for each case: a panel for each call."""
    rows = sorted({(f.case.cell, f.case.H) for f in statistics}, key=lambda row: (CELLS.index(row[0]), row[1]))
    columns = sorted({f.case.B for f in statistics})
    panels = sorted({_panel(f.case) for f in statistics}, key=lambda panel: (panel[0], QUESTIONS.index(panel[1]), panel[2]))
    size = max(max(1.2 + 0.72 * len(columns), 2.2) * len(panels) + 0.6, 6), max(1.7 + 0.57 * len(rows), 3)
    grid, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    norm, image = TwoSlopeNorm(0, vmin=-1, vmax=2), None
    for axis, panel in zip(axes[0], panels, strict=True):
        found = {(f.case.cell, f.case.H, f.case.B): f for f in statistics if _panel(f.case) == panel}
        image = axis.imshow(_ratios(axis, found, rows, columns), cmap="RdYlGn", norm=norm, aspect="auto")
        axis.set_xticks(range(len(columns)), [f"B {B}" for B in columns])
        axis.set_yticks(range(len(rows)), [f"{cell} H {H}" for cell, H in rows] if axis is axes[0][0] else [])
        variant, question, threads = panel
        axis.set_title(f"{variant}{', ' * bool(variant)}{question},\n{threads} thread{'s' * (threads > 1)}")
        for i in range(1, len(rows)):
            if rows[i][0] != rows[i - 1][0]:
                axis.axhline(i - 0.5, color="white", lw=3)
    bar = grid.colorbar(image, ax=axes[0], fraction=0.02, pad=0.01, ticks=[-1, -0.5, 0, 0.585, 1, 2])
    bar.ax.set_yticklabels(["0.5", "0.7", "1", "1.5", "2", "4"])
    bar.set_label("above 1, fastrnn is faster")
    grid.suptitle(fill(title, int(CHARACTERS_PER_INCH * size[0])))
    _save(grid, path)


def _panel(case: Case) -> tuple[str, str, int]:
    return case.variant, case.question, case.threads


def _ratios(axis: Any, found: dict[tuple[str, int, int], Statistics], rows: Sequence[Any], columns: Sequence[int]) -> Any:
    """Return the logarithms of the ratios, and write each ratio and its peer into its place; NaN if there is none."""
    values = np.full((len(rows), len(columns)), np.nan)
    for (i, (cell, H)), (j, B) in product(enumerate(rows), enumerate(columns)):
        best = found[cell, H, B].fastest if (cell, H, B) in found else None
        if best is None:
            continue
        values[i, j] = np.log2(best["ratio"])
        style = {"color": "white" if values[i, j] > 1.2 or values[i, j] < -0.7 else "black", "ha": "center", "va": "center"}
        axis.text(j, i - 0.12, f"{best['ratio']:.2f}", fontsize=10, **style)
        axis.text(j, i + 0.25, SHORT.get(best["peer"], best["peer"]), fontsize=6.5, **style)
    return values


def _save(grid: Any, path: Path) -> None:
    """Write a picture in 128 colours, which looks the same and takes a quarter of the bytes."""
    grid.set_dpi(110)
    grid.canvas.draw()
    pixels = Image.fromarray(np.asarray(grid.canvas.buffer_rgba())).convert("RGB")
    few = pixels.quantize(128, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    data = BytesIO()
    few.save(data, "PNG", optimize=True)
    write_atomically(path, data.getvalue())
    plt.close(grid)
