"""Kernels that are compiled when they are first used: before a command's clock starts, with a word about the wait."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from ... import backends
from ..._core.progress_bar import start_bar
from ...console import note

SECONDS = {True: 15, False: 7}  # on one core of 2020
FUNCTIONS = {True: 88, False: 43}  # of numba_forward, numba_backward and numba_weights, in one dtype


def prepare_kernels(training: bool = False) -> None:
    """Compile what a command needs, if the backend in use compiles and its cache does not have it; say so meanwhile."""
    with _Report(training) as report:
        backends.current().compile_for("float32", training, report)


class _Report:
    """A bar on a terminal while kernels are compiled, elsewhere a line when that begins, and a line when it has ended."""

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
