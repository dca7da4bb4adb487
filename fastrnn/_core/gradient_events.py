"""Events of a backward pass: parameters whose gradients one layer has completed, so that they can be sent to other ranks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parameter import Parameter

Listener = Callable[[Iterable["Parameter"]], None]


class _Local(threading.local):
    listener: Listener | None = None


_local = _Local()


def completed(parameters: Iterable[Parameter]) -> None:
    """Tell this thread's listener that a layer has added into the gradients of these parameters."""
    if _local.listener is not None:
        _local.listener(parameters)


def listening() -> bool:
    """Return whether this thread has a listener; if so, layers run their backward one after the other."""
    return _local.listener is not None


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Call ``listener`` for each event of this thread during the block."""
    before, _local.listener = _local.listener, listener
    try:
        yield
    finally:
        _local.listener = before
