"""A cache for derived values, such as packed weights, and the rule that invalidates them.

A cached value is valid while the key that it was made from is the same. A key holds parameters with their versions, a
backend and its settings; comparing keys takes longer than a small layer's arithmetic. So each change to any of these also
replaces ``VERSION.latest``: while that is the same object, the value is valid, and one comparison of identities is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .fork_lock import ForkLock


class Version:
    """A version: ``latest`` is replaced by a new object at each change, so the same object means no change.

    Each change also increments the ``wider`` version.
    """

    __slots__ = ("_wider", "latest")

    def __init__(self, wider: Version | None = None) -> None:
        self.latest = object()
        self._wider = wider

    def increment(self) -> None:
        """Record a change. ``latest`` is not a number, because two threads could then store the same one for two changes."""
        self.latest = object()
        if self._wider is not None:
            self._wider.increment()


# Changes with parameters' values, the arrays of parameters and gradients, the backend and its settings.
VERSION = Version()
# Changes if the array of a parameter or gradient is replaced, but not if its values change: for caches of pointers.
ARRAYS = Version(VERSION)


class _Settings(Version):
    """The version of the precision and the instruction set, which backends read again when they make a value.

    A value that was made while a setting changed may be for another setting than its key. So a setting changes with its
    version under a lock: a thread that has seen the new setting also finds a new version.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        super().__init__(VERSION)
        self._lock = ForkLock()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change a setting within a ``with`` block."""
        with self._lock:
            yield
            self.increment()

    def unchanged_since(self, latest: object) -> bool:
        """Return whether ``latest`` is still the version."""
        with self._lock:
            return latest is self.latest


SETTINGS = _Settings()


class Cached:
    """A cached value, the key that it was made from, and the ``version`` at which the key was last known to be the same.

    While ``version`` is ``VERSION.latest`` the value is valid, and nobody needs to compute a key.
    """

    __slots__ = ("key", "value", "version")

    def __init__(self, key: Any, value: Any, version: object) -> None:
        self.key, self.value, self.version = key, value, version

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copied object starts with an empty cache


def cached(
    before: Cached | None, key: Any, make: Callable[[], Any], version: object = None, settings: object = None
) -> Cached:
    """Return ``before`` if its key equals ``key``, else a new value from ``make``.

    ``version`` is the ``VERSION.latest`` from before the key was computed, or None if the caller never compares it. The key
    is computed before the value, so after a change in between the value is merely made again. If two threads make a value
    at once, either is valid.

    ``settings`` is the ``SETTINGS.latest`` from before the key was computed, or None if results do not depend on settings.
    If it has changed, the value is used once, because it may be made for a setting that is not the key's.
    """
    if before is not None and before.key == key:
        before.version = version
        return before
    value = make()
    return Cached(key if settings is None or SETTINGS.unchanged_since(settings) else None, value, version)
