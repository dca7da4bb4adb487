"""A layer's parameters in a backend's own form, such as packed weights, and whether that form is still current."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ... import backends
from ..._core.parameter import Parameter, Snapshot
from ...backends.base import Backend, Run
from ...backends.structs import StackSpec

MOST_RUNS = 256  # shapes of x that are remembered
SizedRun = tuple[Run, tuple[int, ...], tuple[int, ...]]  # and the shapes of h and c


@dataclass(slots=True)
class Prepared:
    """``content`` is the backend's form; the rest is what it was made from. A copy of a layer makes its own.

    It is current as long as ``snapshot`` has seen the latest change of anything, and else if :func:`renewed` says so.
    """

    backend: Backend
    settings: Any
    snapshot: Snapshot
    content: Any
    runs: dict[tuple[int, ...], SizedRun] = field(default_factory=dict)  # by the shape of x

    def run(self, spec: StackSpec, shape: tuple[int, ...]) -> Run:
        """Return the backend's function for inference on x of a validated shape, as the kernels take it."""
        sized = self.runs.get(shape)
        if sized is None:
            if len(self.runs) >= MOST_RUNS:
                self.runs.clear()
            N, B, cell = spec.parts, shape[1], spec.cell
            self.runs[shape] = sized = (
                self.backend.run_of(self.content, shape),
                (N, B, cell.output_size),
                (N, B, cell.hidden_size),
            )
        return sized[0]

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
