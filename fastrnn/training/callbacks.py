"""Progress bars and the loss curve of a run. If the library for one is missing, a notice says so once."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .._core.progress_bar import start_bar
from ..console import is_terminal, note, say
from ._run import metrics_file as metrics
from ._run import plots
from ._run.run_state import Info

if TYPE_CHECKING:
    from .loop import Trainer
    from .task import LoopConfig

REFRESH_SECONDS = 0.1  # between two updates of the bar
LINE_SECONDS = 10.0  # between two lines if there is no bar
REDRAW_SECONDS = 30.0  # between two drawings of the loss curve
SMOOTHING = 0.95  # of the displayed loss, which is about the mean of the last 20 steps


def _missing(what: str, package: str) -> None:
    from ..info import install_extra

    note(f"fastrnn: no {what}: {package} is not installed ({install_extra('train')})")


def _clock(seconds: float) -> str:
    """Format seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(number: float) -> str:
    """Format a number with a unit in at most five characters: 950, 24.3k, 165k, 1.2M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * limit:  # what would round to 1000
            return f"{number / limit:.{1 if number < 99.95 * limit else 0}f}{unit}"
    return f"{number:.0f}"


class ProgressBar:
    """Progress bar, and one line for each evaluation, on standard output.

    The bar shows the loss, the learning rate and the time left, by steps or by the time limit, whichever ends first. If
    standard output is not a terminal or rich is not installed, a line every ten seconds takes the place of the bar. The line
    for an evaluation has all metrics, and a star if ``val_loss`` is the best so far. ``print`` may be used while the bar is
    shown. A process without standard output, such as a service, shows nothing.
    """

    config: LoopConfig

    def __init__(self) -> None:
        self._bar: Any = None
        self._bar_wanted = is_terminal(sys.stdout)
        self._first: Info | None = None
        self._loss = math.nan
        self._shown = 0.0
        self._said = time.perf_counter()

    def on_begin(self, trainer: Trainer) -> None:
        """Read the run's limits and reset the displayed loss."""
        self.config = trainer.config
        self._first, self._loss, self._said = None, math.nan, time.perf_counter()

    def on_step(self, info: Info) -> None:
        """Update the bar, or print a line if one is due."""
        self._first = self._first or info
        fresh = math.isnan(self._loss)
        self._loss = info.train_loss if fresh else SMOOTHING * self._loss + (1 - SMOOTHING) * info.train_loss
        now = time.perf_counter()
        if self._bar_wanted and now - self._shown >= REFRESH_SECONDS:
            self._shown = now
            self._move(info)
        if not self._bar_wanted and now - self._said >= LINE_SECONDS:
            self._say(self._text(info) + self._time_left(info))

    def on_eval(self, info: Info) -> None:
        """Print the line for an evaluation."""
        self._say(self._line(info))

    def on_end(self, info: Info) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, line: str) -> None:
        say(line)
        self._said = time.perf_counter()

    def _move(self, info: Info) -> None:
        if self._bar is None:
            self._start()
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=self._done(info), text=self._text(info) + self._time_left(info)
            )
            self._bar.refresh()

    def _start(self) -> None:
        self._bar = start_bar(stderr=False, without_rich=lambda: _missing("progress bar", "rich"))
        self._bar_wanted = self._bar is not None

    def _done(self, info: Info) -> float:
        """Return the completed share of the run, 0..1."""
        by_time = info.seconds / self.config.max_seconds if self.config.max_seconds else 0.0
        by_steps = info.step / self.config.max_steps if self.config.max_steps else 0.0
        return min(1.0, max(by_steps, by_time))

    def _time_left(self, info: Info) -> str:
        assert self._first is not None
        steps, seconds = info.step - self._first.step, info.seconds - self._first.seconds
        left = (self.config.max_steps - info.step) * seconds / steps if steps and self.config.max_steps else math.inf
        left = min(left, self.config.max_seconds - info.seconds if self.config.max_seconds else math.inf)
        return f"  {_clock(max(0.0, left))} left" if math.isfinite(left) else ""

    def _epochs(self, epoch: int) -> str:
        if self.config.max_steps is None or self.config.eval_every is None:
            return f"epoch {epoch}"
        last = -(-self.config.max_steps // self.config.eval_every)
        return f"epoch {epoch:>{len(str(last))}}/{last}"

    def _text(self, info: Info) -> str:
        """Return the text next to the bar."""
        every = self.config.eval_every
        place = f"step {info.step}"
        if every is not None:
            place = f"{self._epochs((info.step - 1) // every + 1)}  {(info.step - 1) % every + 1}/{every}"
        return f"{place}  loss {self._loss:.4f}  lr {info.lr:.1e}"

    def _line(self, info: Info) -> str:
        """Return the line for an evaluation."""
        values = "  ".join(f"{name} {value:.4f}" for name, value in info.metrics.items() if name != "lr")
        star = " *" if info.improved else ""
        return f"{self._epochs(info.epoch)} {_clock(info.seconds):>6}  {values}  lr {info.lr:.1e}{star}"


class Progress(ProgressBar):
    """Progress bar for language models: losses per ``unit`` in nats and on a second ``scale``, and the speed.

    Lines are about 80 columns wide; a star marks the best evaluation so far.
    """

    def __init__(self, config: LoopConfig, unit: str = "char", scale: plots.Scale = plots.BITS) -> None:
        super().__init__()
        self.config, self.unit, self.scale = config, unit, scale

    def _text(self, info: Info) -> str:
        return (
            f"{info.step}{f'/{self.config.max_steps}' if self.config.max_steps else ''}  "
            f"{self._loss:.3f} nats {self.scale.text(self._loss)}/{self.unit}  "
            f"{_short(info.tokens_per_second)} {self.unit}/s  lr {info.lr:.1e}"
        )

    def _line(self, info: Info) -> str:
        val = math.nan if info.val_loss is None else info.val_loss
        return (
            f"step {info.step:>6} {_clock(info.seconds):>6}  train {info.train_loss:.3f}  "
            f"val {val:.3f} nats/{self.unit} ({self.scale.text(val)}) {'*' if info.improved else ' '} "
            f"{_short(info.tokens_per_second)} {self.unit}/s"
        )


class LossCurve:
    """Callback that draws a run's ``metrics.csv`` as a PNG, at most twice a minute and once at the end.

    ``baselines`` are losses by name, drawn for comparison. If matplotlib is missing or the file cannot be written, a notice
    says so once and the run continues.
    """

    def __init__(
        self,
        csv: str | os.PathLike[str],
        png: str | os.PathLike[str],
        unit: str = "char",
        scale: plots.Scale = plots.BITS,
        baselines: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.csv, self.png, self.unit = Path(csv), Path(png), unit
        self.scale, self.baselines = scale, baselines
        self._drawn = time.perf_counter()
        self._wanted = True

    def on_eval(self, info: Info) -> None:
        """Draw if the last picture is old enough."""
        if time.perf_counter() - self._drawn >= REDRAW_SECONDS:
            self.draw()

    def on_end(self, info: Info) -> None:
        """Draw the final picture."""
        self.draw()

    def draw(self) -> None:
        """Draw the evaluations in the file so far; do nothing if there are none."""
        if not self._wanted or not self.csv.exists():
            return
        try:
            rows = metrics.read(self.csv)
            if rows:
                plots.draw_losses(rows, self.png, self.unit, self.scale, self.baselines)
        except ImportError:
            self._wanted = False
            _missing("loss curve", "matplotlib")
        except (OSError, ValueError) as error:
            self._wanted = False
            note(f"fastrnn: no loss curve: {error}")
        self._drawn = time.perf_counter()
