"""What Numba compiles, counted while it does: a command shows it, a program that uses the library sees nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

KIND = "numba:compile"  # the event of one function, those that it calls included


class _Counter(event.Listener):
    """Calls ``tell(count)`` with the number of functions compiled so far, 0 when the first one begins."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self.tell = tell
        self.count: int | None = None

    def on_start(self, event: Any) -> None:
        """Tell that compiling has begun."""
        if self.count is None:
            self.count = 0
            self.tell(0)

    def on_end(self, event: Any) -> None:
        """Count a function."""
        self.count = (self.count or 0) + 1
        self.tell(self.count)


@contextmanager
def counting(tell: Callable[[int], None]) -> Iterator[None]:
    """Call ``tell`` for each function that Numba compiles within; what comes from the cache on disk is not compiled."""
    with event.install_listener(KIND, _Counter(tell)):  # type: ignore[no-untyped-call]
        yield
