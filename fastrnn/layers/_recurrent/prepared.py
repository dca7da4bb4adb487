"""A cache of a layer's parameters in a backend's form, such as packed weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ... import backends
from ..._core.cache import SETTINGS, Cached, cached
from ..._core.parameter import Parameter, Snapshot
from ...backends.base import Backend, Run
from ...backends.structs import StackSpec

MOST_RUNS = 256  # shapes of x that are cached
SizedRun = tuple[Run, tuple[int, ...], tuple[int, ...]]  # a run with the shapes of h and c


@dataclass(slots=True)
class Prepared:
    """Parameters in a backend's form: ``content`` has their values at the time of ``snapshot``."""

    backend: Backend
    snapshot: Snapshot
    content: Any
    runs: dict[tuple[int, ...], SizedRun]  # by the shape of x

    def run(self, spec: StackSpec, shape: tuple[int, ...]) -> Run:
        """Return the backend's function for inference on x of a validated shape, in the kernels' layout."""
        sized = self.runs.get(shape)
        if sized is None:
            if len(self.runs) >= MOST_RUNS:
                self.runs.clear()
            N, B, cell = spec.parts, shape[1], spec.cell
            run = self.backend.run_of(self.content, shape)
            self.runs[shape] = sized = run, (N, B, cell.output_size), (N, B, cell.hidden_size)
        return sized[0]


def prepared(
    before: Cached | None, name: str | None, parameters: tuple[Parameter, ...], make: Callable[[Backend], Any]
) -> Cached:
    """Return ``before`` if it is valid, else a new :class:`Prepared` with ``make(backend)``.

    It is invalid after a change to a parameter, the backend or a setting. ``name`` selects the backend; None is the one in
    use.
    """
    snapshot, settings = Snapshot(parameters), SETTINGS.latest
    backend = backends.current(name)
    key = backend, backend.settings(), snapshot
    return cached(before, key, lambda: Prepared(backend, snapshot, make(backend), {}), snapshot.version, settings)
