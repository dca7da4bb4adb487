"""The metrics of each evaluation of a run, in memory and as a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core import checks
from ..serialization import PathLike, write_atomically
from ._run.run_state import Info

if TYPE_CHECKING:
    from .loop import Trainer


class History(Mapping[str, list[float]]):
    """Callback that records the metrics of each epoch, like Keras' History; :func:`fastrnn.fit` returns it.

    ``history`` maps ``loss``, ``val_loss``, ``lr`` and each metric to a list with one value per epoch. ``epoch`` lists the
    epoch numbers, from 1. ``history["loss"]`` is short for ``history.history["loss"]``, and ``dict(history)`` is a copy.
    After the run, ``stopped`` says how it ended (see :class:`Result`), and ``step`` and ``seconds`` how far it went. A
    resumed run extends the record.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.stopped: str | None = None
        self.step, self.seconds = 0, 0.0

    def __getitem__(self, name: str) -> list[float]:
        return self.history[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.history)

    def __len__(self) -> int:
        return len(self.history)

    def on_begin(self, trainer: Trainer) -> None:
        """Clear the record of a previous run."""
        if trainer.state.step == 0:
            self.history, self.epoch = {}, []
        self.stopped = None

    def on_metrics(self, info: Info) -> None:
        """Add a row; NaN stands for a metric that is missing or was not there before."""
        for name in info.metrics:
            self.history.setdefault(name, [math.nan] * len(self.epoch))
        self.epoch.append(info.epoch)
        for name, values in self.history.items():
            values.append(float(info.metrics.get(name, math.nan)))

    def on_end(self, info: Info) -> None:
        """Record how the run ended."""
        self.stopped, self.step, self.seconds = info.stopped, info.step, info.seconds

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"history": {name: list(values) for name, values in self.history.items()}, "epoch": list(self.epoch)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the rows of :meth:`state_dict`."""
        self.history = {name: list(values) for name, values in state["history"].items()}
        self.epoch = list(state["epoch"])

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.history.items() if values)
        return f"History({len(self.epoch)} epochs{': ' if last else ''}{last})"


class CSVLogger(History):
    """Callback that writes the metrics of all epochs to a CSV file, like Keras' CSVLogger.

    The columns are ``epoch`` and the metrics of :class:`History`. An existing file is replaced. The whole file is written
    atomically after every evaluation, so a resumed run leaves no gap and repeats no row. Raises OSError naming the file.
    """

    def __init__(self, filename: PathLike, separator: str = ",") -> None:
        super().__init__()
        self.filename = Path(filename)
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator must be one character, got {checks.describe(separator)}")
        self.separator = separator

    def on_metrics(self, info: Info) -> None:
        """Add a row and write the file."""
        super().on_metrics(info)
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.separator, lineterminator="\n")
        writer.writerow(["epoch", *self.history])
        writer.writerows(zip(self.epoch, *self.history.values(), strict=True))
        write_atomically(self.filename, text.getvalue().encode())
