"""Loss curves as PNG. Matplotlib is imported only when a picture is drawn, and its global state does not change."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...serialization import write_atomically
from .metrics_file import Row

LN2 = math.log(2)
LARGEST = 700.0  # nats; the largest whole hundred whose perplexity fits a float
LONG = 1e6  # numbers from here on are written as powers of ten


@dataclass(frozen=True)
class Scale:
    """Scale for losses, such as bits: ``of`` converts from nats and ``nats`` back, elementwise.

    ``form`` and ``digits`` format a single number. Losses above ``largest`` nats are shown as "over" that.
    """

    label: str  # of the axis, with a place for the unit
    form: str
    digits: int
    of: Callable[[Any], Any]
    nats: Callable[[Any], Any]
    largest: float = math.inf

    def text(self, loss: float) -> str:
        """Return a loss in nats as short text, even if it is huge because training diverged."""
        value = float(self.of(loss))
        number = f"{value:.{self.digits}f}" if abs(value) < LONG else f"{value:.2e}"
        return self.form.format(f"over {number}" if loss > self.largest else number)


BITS = Scale("loss (bits per {unit})", "{} bits", 3, lambda nats: nats / LN2, lambda bits: bits * LN2)
# matplotlib also converts values outside the curve. Clipping them avoids a perplexity that overflows, and log 0.
PERPLEXITY = Scale(
    "perplexity per {unit}",
    "perplexity {}",
    1,
    lambda nats: np.exp(np.minimum(nats, LARGEST)),
    lambda perplexity: np.log(np.maximum(perplexity, 1e-300)),
    LARGEST,
)
SCALES = {"character": BITS, "word": PERPLEXITY, "token": PERPLEXITY}


def draw_losses(
    rows: Sequence[Row],
    path: Path,
    unit: str = "token",
    scale: Scale = BITS,
    baselines: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Draw training and validation loss against the step, per ``unit``, in nats (left axis) and on ``scale`` (right axis).

    The best evaluation is marked. Dashed lines show ``baselines``, losses by name. Raises ImportError without matplotlib,
    and OSError if ``path`` cannot be written.
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
        label = f"best: {best.val_loss:.3f} nats ({scale.text(best.val_loss)}) at step {best.step:,}"
        axes.plot(best.step, best.val_loss, "*", color="#c2410c", markersize=15, markeredgecolor="white", label=label)
    for (name, loss), style in zip(baselines.items(), itertools.cycle(["--", ":"]), strict=False):
        axes.axhline(loss, color="#6b7280", linestyle=style, linewidth=1, label=f"{name}: {scale.text(loss)}")
    axes.set_xlim(left=0)
    axes.set_xlabel("training step")
    axes.set_ylabel(f"loss (nats per {unit})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    right = axes.secondary_yaxis("right", functions=(scale.of, scale.nats))
    right.set_ylabel(scale.label.format(unit=unit))
    axes.grid(alpha=0.25)
    axes.spines["top"].set_visible(False)
    axes.legend(framealpha=1, edgecolor="none")  # opaque, so that the baselines do not cross the text
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())
