"""Whether anything at all has changed: parameters, the backend in use, a backend's settings; which arrays gradients are.

Layers keep prepared weights, and at every call they have to know that these are still current. Nearly always nothing has
changed since the last call; comparing one reference says so, where asking every parameter would take longer than a small
layer's arithmetic.
"""

from __future__ import annotations


class Changes:
    """``latest`` is an object that stands for the latest change: as long as it is the same one, there has been none."""

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.latest = object()

    def note(self) -> None:
        """Something has changed. An object, not a count: two threads that change something at once leave no old value."""
        self.latest = object()


CHANGES = Changes()

# Which arrays are gradients and parameters, whatever their values: what holds pointers to them looks here.
GRADIENTS = Changes()
