"""Deferral of Ctrl-C to the end of a training step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Catch the first Ctrl-C, which only makes the yielded function return True; the second raises KeyboardInterrupt.

    Outside the main thread, where Python cannot set a handler, and over a handler that is not Python's own, it does nothing.
    """
    interrupted = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    in_main_thread = threading.current_thread() is threading.main_thread()
    ours = in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: interrupted
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
