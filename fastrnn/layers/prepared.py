"""A layer's parameters in a backend's own form, such as packed weights, and whether that form is still current."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..backends.protocol import Backend
from .parameter import Parameter, Snapshot


@dataclass(slots=True)
class Prepared:
    """``content`` is the backend's form; the rest is what it was made from. A copy of a layer makes its own."""

    backend: Backend
    settings: Any
    snapshot: Snapshot
    content: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def current(kept: Prepared | None, backend: Backend, parameters: tuple[Parameter, ...], make: Callable[[], Any]) -> Prepared:
    """``kept`` if no parameter, backend or setting has changed since it was made, else a new one with ``make()`` in it."""
    settings = backend.settings()
    same = kept is not None and kept.backend is backend and kept.settings == settings
    if kept is not None and same and kept.snapshot.holds(parameters):
        return kept
    snapshot = Snapshot(parameters)  # before the values are read: a change in between makes it out of date, not wrong
    return Prepared(backend, settings, snapshot, make())
