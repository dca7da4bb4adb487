"""What a model says while it is trained: samples that are shown at each evaluation and kept in a file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...console import say
from ...serialization import write_atomically
from .run_state import Info

HEADER = re.compile(r"^--- step (\d+), validation loss ", re.MULTILINE)


class SampleWriter:
    """A callback that samples at each evaluation, adds the samples to the file ``path`` and shows them.

    ``draw`` gives the samples that follow from a seed. ``unit`` is what losses are counted per, ``between`` what stands
    between the samples where they are shown. The file is written before the checkpoint, as ``metrics.csv`` is: whoever goes
    on from an older checkpoint evaluates again and writes the same samples. Raises OSError where the file cannot be written.
    """

    def __init__(
        self,
        draw: Callable[[int], Sequence[str]],
        path: Path,
        seed: int,
        unit: str,
        *,
        between: str = "\n",
        show: Callable[[str], None] = say,
    ) -> None:
        self._draw, self._path, self._seed = draw, path, seed
        self._unit, self._between, self._show = unit, between, show
        self._samples: Sequence[str] = ()

    def on_metrics(self, info: Info) -> None:
        """Sample and write. The random numbers follow from the seed and the step, and are not training's."""
        seed = int(np.random.SeedSequence([self._seed, info.step]).generate_state(1)[0])
        self._samples = self._draw(seed)
        loss = math.nan if info.val_loss is None else info.val_loss
        header = f"--- step {info.step}, validation loss {loss:.4f} nats per {self._unit}"
        record = "\n".join([header, *self._samples, "", ""])
        # The whole file, because an addition that was cut short could not be told from a sample.
        text = _until(_read(self._path), info.step - 1) + record
        write_atomically(self._path, text.encode())

    def on_eval(self, info: Info) -> None:
        """Show the samples, after the evaluation's own line."""
        self._show(f"  {self._between.join(self._samples)}")


def cut_samples(path: Path, last_step: int) -> None:
    """Drop the samples of later steps from a file of :class:`SampleWriter`, for a run that goes on from there."""
    text = _read(path)
    kept = _until(text, last_step)
    if len(kept) < len(text):
        write_atomically(path, kept.encode())


def _read(path: Path) -> str:
    """The text of a file with its line ends as they are; nothing where there is none."""
    return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def _until(text: str, last_step: int) -> str:
    for header in HEADER.finditer(text):
        if int(header[1]) > last_step:
            return text[: header.start()]
    return text
