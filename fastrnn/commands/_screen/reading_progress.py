"""The progress bar that commands show while they read their input."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..._core.progress_bar import start_bar
from ...console import note

PATIENCE_SECONDS = 1.0  # shorter work needs no bar
REFRESH_SECONDS = 0.1
# The first line of redirected output waits until this share is done, so that it can estimate the time, or for LINE_SECONDS.
ESTIMABLE_SHARE, LINE_SECONDS = 0.02, 10.0


class ReadingProgress:
    """Progress of reading: how much of ``total`` is done, in ``unit``.

    It appears :data:`PATIENCE_SECONDS` after the first call. A terminal gets a bar on standard error. Redirected output gets
    a line with an estimate of the time, and another line every :data:`LINE_SECONDS`. Without a console (``sys.stderr`` is
    None) nothing is shown.
    """

    def __init__(self, what: str, total: float, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0.0
        self._first: tuple[float, float] | None = None  # time of the first call, and the amount done by then
        self._shown = 0.0
        self._bar: Any = None
        self._line: float | None = None  # time of the last line
        self._closed = False

    def advance(self, count: float = 1) -> None:
        """Add ``count`` to the amount done, and show it if an update is due."""
        self.show(self.done + count, self.total)

    def show(self, done: float, total: float) -> None:
        """Set the amount done and the total, and show them if an update is due. Ignored after :meth:`close`."""
        if self._closed:  # later reads of the same input are not part of the total
            return
        self.done, self.total = done, total
        now = time.perf_counter()
        self._first = self._first or (now, done)  # time before, such as for starting processes, is not reading time
        seconds = now - self._first[0]
        if seconds < PATIENCE_SECONDS:
            return
        if self._line is None:
            self._bar = self._bar or _bar(self.what)
        if self._bar is None:
            if self._line_due(now, seconds):
                self._line = now
                self._print_line(seconds, self._first[1])
        elif now - self._shown >= REFRESH_SECONDS:
            self._shown = now
            text = f"{self.done:,.0f} of {self.total:,.0f} {self.unit}"
            self._bar.update(self._bar.task_ids[0], completed=min(1.0, self.done / max(self.total, 1)), text=text)
            self._bar.refresh()

    def _line_due(self, now: float, seconds: float) -> bool:
        if self._line is not None:
            return now - self._line >= LINE_SECONDS
        return self.done >= ESTIMABLE_SHARE * self.total or seconds >= LINE_SECONDS

    def close(self) -> None:
        """Remove the bar for good."""
        self._closed = True
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print_line(self, seconds: float, before: float) -> None:
        can_tell = before < self.done < self.total and self.done >= ESTIMABLE_SHARE * self.total
        whole = f", about {seconds * self.total / (self.done - before):.0f} s in all" if can_tell else ""
        read = f"{self.done:,.0f} of {self.total:,.0f} {self.unit}"
        note(f"{self.what}: {read} after {seconds:.0f} s{whole}")


@contextmanager
def reading_progress(what: str, total: float, unit: str) -> Iterator[ReadingProgress]:
    """Show a :class:`ReadingProgress` while the block runs: ``with reading_progress("reading", 1500, "files") as bar``."""
    progress = ReadingProgress(what, total, unit)
    try:
        yield progress
    finally:
        progress.close()


def _bar(what: str) -> Any:
    return start_bar(stderr=True, title=what, time_left=True)
