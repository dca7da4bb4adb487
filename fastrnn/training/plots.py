"""Loss curves as PNG. Matplotlib is imported when a picture is drawn, and its global state is left alone."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..serialization import write_atomically
from .metrics import Row

LN2 = math.log(2)


def _bits(nats: Any) -> Any:
    return nats / LN2


def _nats(bits: Any) -> Any:
    return bits * LN2


def draw_losses(rows: Sequence[Row], path: Path, unit: str = "token") -> None:
    """Draw training and validation loss against the step, in nats (left) and bits (right) per ``unit``.

    The best evaluation is marked. Raises ImportError without matplotlib, OSError when ``path`` cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    steps = [row.step for row in rows]
    marker = "." if len(rows) <= 60 else None
    axes.plot(steps, [row.train_loss for row in rows], color="#7aa6c2", marker=marker, label="training")
    axes.plot(steps, [row.val_loss for row in rows], color="#c2410c", linewidth=2, marker=marker, label="validation")
    finite = [row for row in rows if math.isfinite(row.val_loss)]
    if finite:
        best = min(finite, key=lambda row: row.val_loss)
        label = f"best: {best.val_loss:.3f} nats ({best.val_loss / LN2:.3f} bits) at step {best.step:,}"
        axes.plot(best.step, best.val_loss, "*", color="#c2410c", markersize=15, markeredgecolor="white", label=label)
    axes.set_xlim(left=0)
    axes.set_xlabel("training step")
    axes.set_ylabel(f"loss (nats per {unit})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    bits = axes.secondary_yaxis("right", functions=(_bits, _nats))
    bits.set_ylabel(f"loss (bits per {unit})")
    axes.grid(alpha=0.25)
    axes.spines["top"].set_visible(False)
    axes.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())
