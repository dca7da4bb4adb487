"""Samples of a model during training, shown at each evaluation and saved in a file."""

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
    """Callback that samples at each evaluation, adds the samples to the file ``path`` and shows them.

    The file is written before the checkpoint, like ``metrics.csv``, because a run that resumes from an older checkpoint
    evaluates again and writes the same samples. Raises OSError if the file cannot be written.

    Parameters
    ----------
    draw
        A function from a seed to samples.
    path
        The file.
    seed
        The seed of all samples of the run.
    unit
        The name of a token, such as "word".
    between
        The text between two samples when they are shown.
    show
        The function that prints them.
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
        """Sample and write the file. The random numbers depend only on the seed and the step."""
        seed = int(np.random.SeedSequence([self._seed, info.step]).generate_state(1)[0])
        self._samples = self._draw(seed)
        loss = math.nan if info.val_loss is None else info.val_loss
        header = f"--- step {info.step}, validation loss {loss:.4f} nats per {self._unit}"
        record = "\n".join([header, *self._samples, "", ""])
        # The whole file is rewritten, because an incomplete addition would look like a sample.
        text = _until(_read(self._path), info.step - 1) + record
        write_atomically(self._path, text.encode())

    def on_eval(self, info: Info) -> None:
        """Show the samples, after the line for the evaluation."""
        self._show(f"  {self._between.join(self._samples)}")


def cut_samples(path: Path, last_step: int) -> None:
    """Drop the samples after ``last_step``, from which a run continues, from a file of :class:`SampleWriter`."""
    text = _read(path)
    beginning = _until(text, last_step)
    if len(beginning) < len(text):
        write_atomically(path, beginning.encode())


def _read(path: Path) -> str:
    """Return the text of a file with unchanged line ends; "" if there is no file."""
    return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def _until(text: str, last_step: int) -> str:
    for header in HEADER.finditer(text):
        if int(header[1]) > last_step:
            return text[: header.start()]
    return text
