"""Compilation of kernels before a command's clock starts, with a notice about the wait."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from ... import backends
from ..._core.progress_bar import start_bar
from ...console import note

SECONDS = {True: 15, False: 7}  # with and without training, on one core of 2020
FUNCTIONS = {True: 88, False: 43}  # of forward, backward and weights in backends/_numba, in one dtype


def prepare_kernels(training: bool = False) -> None:
    """Compile the kernels that a command needs and the backend's cache lacks, and show the progress."""
    with _Report(training) as report:
        backends.current().compile_for("float32", training, report)


class _Report:
    """A report of the compilation: a bar on a terminal, elsewhere a line at its start, and a line at its end."""

    def __init__(self, training: bool) -> None:
        self._functions = FUNCTIONS[training]
        self._title = f"compiling the Numba kernels (once, about {SECONDS[training]} s)"
        self._bar: Any = None
        self._start: float | None = None

    def __enter__(self) -> _Report:
        return self

    def __call__(self, count: int) -> None:
        """Show how many functions are done."""
        if self._start is None:
            self._start = time.perf_counter()
            self._bar = start_bar(stderr=True, title=self._title)
            if self._bar is None:
                note(self._title)
        if self._bar is not None:
            done = min(0.99, count / self._functions)
            self._bar.update(self._bar.task_ids[0], completed=done, text=f"{done:.0%}")
            self._bar.refresh()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._start is not None and kind is None:
            note(f"compiled in {time.perf_counter() - self._start:.0f} s")
