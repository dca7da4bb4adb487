"""The pictures of see_the_gradient.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STYLES: dict[str, dict[str, Any]] = {
    "RNN": {"color": "#c2410c"},
    "GRU": {"color": "#1d4ed8", "linestyle": "--"},
    "LSTM": {"color": "#15803d", "linestyle": "--"},
    "GRU, gate bias 4": {"color": "#1d4ed8", "linewidth": 3},
    "LSTM, gate bias 4": {"color": "#15803d"},
}


@dataclass
class Panel:
    """A unit over sentences of one pattern: ``states [T, B]``, the subjects' ``number [B]``, ``gates [T]`` in one."""

    title: str
    correlation: float
    states: Array
    number: Array
    gates: dict[str, Array]


def draw_gradients(before: dict[str, Array], after: dict[str, Array], path: Path) -> None:
    """Draw the norm of dL/dh_t (dL/dc_t in an LSTM), relative to that at the verb, by the number of words before it."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, norms, title in (
        (left, before, "dL/dh (LSTM: dL/dc) before training"),
        (right, after, "after training on 6 to 30 words"),
    ):
        for kind, norm in norms.items():
            axes.semilogy(np.arange(len(norm))[::-1], norm / norm[-1], label=kind, **STYLES[kind])
        axes.invert_xaxis()
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("words before the verb (the subject stands at the left)")
        axes.grid(alpha=0.3)
    left.set_ylabel("norm, as a share of that at the verb")
    left.legend(fontsize=8)
    save(figure, path)


def draw_accuracy(distances: Sequence[int], table: dict[str, Array], path: Path) -> None:
    """Draw the mean accuracy over the seeds of ``[seeds, distances]`` by distance, and each seed as a dot."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    for kind, values in table.items():
        axes.plot(distances, values.mean(axis=0), label=kind, **STYLES[kind])
        axes.plot(distances, values.T, ".", color=STYLES[kind]["color"], alpha=0.4, markersize=5)
    axes.axhline(0.5, color="#6b7280", linestyle=":", linewidth=1, label="the more frequent number")
    axes.set_ylim(0.25, 1.03)
    axes.set_xticks(distances)
    axes.set_xlabel("words from the subject to the verb, in training too")
    axes.set_ylabel("held-out accuracy")
    axes.grid(alpha=0.3)
    axes.legend(loc="center right", fontsize=8)
    save(figure, path)


def draw_explosion(growing: dict[float, Array], runs: dict[str, list[tuple[Array, Array]]], clip: float, path: Path) -> None:
    """Draw the norm of dL/dh_t by the scale of the recurrent weights, gradient norms of the first seed, and all losses.

    ``runs`` has the runs without clipping, then those whose gradients are clipped to norm ``clip``: losses and norms
    ``[steps]`` of each seed. The norms are those before clipping; a clipped step uses the smaller of norm and bound.
    """
    figure = new_figure(11, 3.8)
    first, second, third = figure.subplots(1, 3)
    for (scale, norm), shade in zip(growing.items(), ("#fdba74", "#ea580c", "#9a3412", "#431407"), strict=True):
        first.semilogy(np.arange(len(norm))[::-1], norm / norm[-1], color=shade, label=f"weights times {scale:g}")
    first.invert_xaxis()
    first.set_title("RNN before training: dL/dh", fontsize=10)
    first.set_xlabel("words before the verb")
    for (name, of), colour, bound in zip(runs.items(), ("#c2410c", "#1d4ed8"), (np.inf, clip), strict=True):
        second.semilogy(np.minimum(of[0][1], bound), color=colour, linewidth=0.8, label=name)
        for i, (losses, _) in enumerate(of):
            window = min(25, len(losses))
            smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
            third.semilogy(np.arange(len(smooth)) + window, smooth, color=colour, label=None if i else name)
    second.axhline(clip, color="#111827", linestyle="--", linewidth=1, label="the bound")
    second.set_title("times 2.5: norm of the gradient that a step uses", fontsize=10)
    third.set_title(f"times 2.5: loss in nats, {len(of)} seeds", fontsize=10)
    third.axhline(np.log(2), color="#6b7280", linestyle=":", label="guessing")
    for axes in (second, third):
        axes.set_xlabel("training step")
    for axes, place in ((first, "best"), (second, "lower left"), (third, "best")):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc=place)
    save(figure, path)


def draw_gates(panels: dict[str, Panel], words: Sequence[str], path: Path) -> None:
    """Draw the state of the unit that stores the number, in sentences of both numbers, and its gates in one sentence."""
    figure = new_figure(9, 7)
    axes = figure.subplots(2 * len(panels), 1, sharex=True, height_ratios=[3, 2] * len(panels))
    for (kind, panel), upper, lower in zip(panels.items(), axes[::2], axes[1::2], strict=True):
        for state, plural in zip(panel.states.T, panel.number, strict=True):
            upper.plot(state, color="#c2410c" if plural else "#1d4ed8", linewidth=0.7, alpha=0.6)
        upper.set_title(f"{kind}: {panel.title}; least correlation {panel.correlation:.2f}", fontsize=9)
        for (gate, values), style in zip(panel.gates.items(), ("o-", "s:"), strict=False):
            lower.plot(values, style, color="#15803d", markersize=3, linewidth=1, label=gate)
        lower.set_ylim(0, 1.15 * max(values.max() for values in panel.gates.values()))
        lower.set_title(f"{kind}: gates of this unit in the sentence below", fontsize=9)
        lower.legend(fontsize=8, loc="center right", framealpha=1)
    axes[-1].set_xticks(range(len(words)), words, rotation=60, fontsize=8)
    for each in axes:
        each.grid(alpha=0.3)
    save(figure, path)


def new_figure(width: float, height: float) -> Any:
    """Make a figure without matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Save a figure as a PNG of 64 colours, which has a third of the size."""
    from PIL import Image

    figure.canvas.draw()
    Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(64).save(path, optimize=True)
