"""A layer's parameters in a backend's own form, such as packed weights, and whether that form is still current."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ... import backends
from ..._core.parameter import Parameter, Snapshot
from ...backends.base import Backend


@dataclass(slots=True)
class Prepared:
    """``content`` is the backend's form; the rest is what it was made from. A copy of a layer makes its own.

    It is current as long as ``snapshot`` has seen the latest change of anything, and else if :func:`renewed` says so.
    """

    backend: Backend
    settings: Any
    snapshot: Snapshot
    content: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def renewed(
    kept: Prepared | None, name: str | None, parameters: tuple[Parameter, ...], make: Callable[[Backend], Any]
) -> Prepared:
    """``kept`` if no parameter, backend or setting has changed since it was made, else a new one with ``make(backend)``.

    ``name`` is the backend's, None for the one in use.
    """
    snapshot = Snapshot(parameters)  # before anything is looked at: a change in between makes it out of date, not wrong
    backend = backends.current(name)
    settings = backend.settings()
    same = kept is not None and kept.backend is backend and kept.settings == settings
    if kept is not None and same and kept.snapshot == snapshot:
        kept.snapshot = snapshot
        return kept
    return Prepared(backend, settings, snapshot, make(backend))
