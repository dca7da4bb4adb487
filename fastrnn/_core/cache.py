"""Values that are made from others and kept, such as packed weights, and the one rule by which they are current.

A value is current if the key that it was made from is still the same. Keys name parameters with their versions, backends and
settings, which takes longer to compare than a small layer's arithmetic. So each change of any of these also renews
``VERSION.latest``: what was current at that version still is, and nearly always one comparison of identities says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Version:
    """``latest`` is an object that stands for the latest change: as long as it is the same one, there has been none.

    A change is one of the ``wider`` version as well.
    """

    __slots__ = ("_wider", "latest")

    def __init__(self, wider: Version | None = None) -> None:
        self.latest = object()
        self._wider = wider

    def increment(self) -> None:
        """Say that something has changed. No number: two threads that change something at once leave no old value."""
        self.latest = object()
        if self._wider is not None:
            self._wider.increment()


VERSION = Version()  # of everything: parameters' values, which arrays they and gradients are, backends and their settings
ARRAYS = Version(VERSION)  # which arrays are parameters and gradients, whatever their values: for those who keep pointers


class Cached:
    """A value and the key that it was made from."""

    __slots__ = ("key", "value")

    def __init__(self, key: Any, value: Any) -> None:
        self.key, self.value = key, value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # whoever is copied makes its own


def cached(before: Cached | None, key: Any, make: Callable[[], Any]) -> Cached:
    """Return ``before`` if its key is still the same, else what ``make`` makes.

    The key is taken before the value is made: a change in between makes the value out of date, not wrong. Two threads that
    find a value out of date at once both make it, and either result serves.
    """
    if before is not None and before.key == key:
        before.key = key  # equal, and known to be so at a later version
        return before
    return Cached(key, make())
