"""A lock that is free in a forked child."""

from __future__ import annotations

import os
import threading
import weakref

_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


class ForkLock:
    """Lock that is free in a forked child, where the thread that held it does not exist. A copy gets its own lock.

    What it guards may be half changed in the child, such as gradients to which a thread was adding.
    """

    __slots__ = ("__weakref__", "_held", "_lock")

    def __init__(self) -> None:
        self._lock = self._held = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        lock = self._lock
        lock.acquire()
        self._held = lock  # a fork inside the block replaces _lock

    def __exit__(self, *_: object) -> None:
        self._held.release()

    def __reduce__(self) -> tuple[type[ForkLock], tuple[()]]:
        return type(self), ()

    @staticmethod
    def free_all() -> None:
        """Replace all locks by free ones."""
        for lock in list(_locks):
            lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ForkLock.free_all)
