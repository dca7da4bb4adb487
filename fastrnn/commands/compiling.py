"""Kernels that are compiled when they are first used: before a command's clock starts, with a word about the wait."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from .. import backends
from ..console import is_terminal, note

SECONDS = {True: 15, False: 7}  # on one core of 2020
FUNCTIONS = {True: 88, False: 43}  # of numba_forward, numba_backward and numba_weights, in one dtype


def prepare_kernels(training: bool = False) -> None:
    """Compile what a command needs, if the backend in use compiles and its cache does not have it; say so meanwhile."""
    compile_for = getattr(backends.current(), "compile_for", None)
    if compile_for is not None:
        with _Report(training) as report:
            compile_for("float32", training, report)


class _Report:
    """A line to standard error when compiling begins, moved on a terminal, and one when it has ended."""

    def __init__(self, training: bool) -> None:
        self._functions = FUNCTIONS[training]
        self._title = f"compiling the Numba kernels (once, about {SECONDS[training]} s)"
        self._moves = is_terminal(sys.stderr)
        self._start: float | None = None

    def __enter__(self) -> _Report:
        return self

    def __call__(self, count: int) -> None:
        """Show how many functions are done."""
        if self._start is None:
            self._start = time.perf_counter()
            if not self._moves:
                note(self._title)
        if self._moves:
            done = min(0.99, count / self._functions)
            note(f"\r{self._title}: {done:.0%}", end="")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._start is None:
            return
        if self._moves:
            note("")
        if kind is None:
            note(f"compiled in {time.perf_counter() - self._start:.0f} s")
