"""Progress of Numba's compiler: a count of compiled functions, which the commands show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

KIND = "numba:compile"  # one event for each compiled function, callees included


class _Counter(event.Listener):
    """Listener that calls ``report(count)`` with the number of functions compiled so far, 0 when the first one begins."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self.report = report
        self.count: int | None = None

    def on_start(self, event: Any) -> None:
        """Report 0 when the first function begins."""
        if self.count is None:
            self.count = 0
            self.report(0)

    def on_end(self, event: Any) -> None:
        """Count a finished function and report it."""
        self.count = (self.count or 0) + 1
        self.report(self.count)


@contextmanager
def counting(report: Callable[[int], None]) -> Iterator[None]:
    """Call ``report`` for each function that Numba compiles in this context, not for those loaded from the cache."""
    with event.install_listener(KIND, _Counter(report)):  # type: ignore[no-untyped-call]
        yield
