"""What a model says while it is trained: samples that are shown at each evaluation and kept in a file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..console import say
from ..serialization import write_atomically
from .record import Info


class SampleWriter:
    """A callback that samples at each evaluation, shows the samples and adds them to the file ``path``.

    ``draw`` gives the samples that follow from a seed. ``unit`` is what losses are counted per, ``between`` what stands
    between the samples where they are shown. Raises OSError where the file cannot be written.
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

    def on_eval(self, info: Info) -> None:
        """Sample and write. The random numbers follow from the seed and the step, and are not training's."""
        seed = int(np.random.SeedSequence([self._seed, info.step]).generate_state(1)[0])
        samples = self._draw(seed)
        self._show(f"  {self._between.join(samples)}")
        loss = math.nan if info.val_loss is None else info.val_loss
        header = f"--- step {info.step}, validation loss {loss:.4f} nats per {self._unit}"
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write("\n".join([header, *samples, "", ""]))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def cut_samples(path: Path, last_step: int) -> None:
    """Drop the samples of later steps from a file of :class:`SampleWriter`, for a run that goes on from there."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    for header in re.finditer(r"^--- step (\d+), validation loss ", text, re.MULTILINE):
        if int(header[1]) > last_step:
            write_atomically(path, text[: header.start()].encode())
            return
