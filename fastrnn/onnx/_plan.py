"""A plan: the steps of a graph for one set of input shapes, in memory that every run reuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._core.arrays import Array
from .._core.drawing_limit import budget
from ._build import Build, Step
from ._graph import Graph
from ._operators import TABLE


class Plan:
    """Arrays for the inputs and outputs, the same ones in every run, and the steps between them.

    ``known`` has the bytes of the inputs whose values are constants of the plan. The plan is valid for one ``version`` of
    the settings and a number of ``threads``, which the caller sets.
    """

    __slots__ = ("inputs", "known", "outputs", "steps", "threads", "version")

    def __init__(self, inputs: dict[str, Array], known: dict[str, Array], steps: list[Step], outputs: list[Array]) -> None:
        self.inputs, self.steps, self.outputs = inputs, steps, outputs
        self.known = {name: (array.dtype, array.shape, array.tobytes()) for name, array in known.items()}
        self.version: object = None
        self.threads = 0

    def fits(self, feeds: Any, version: object, threads: int) -> bool:
        """Return True if the inputs are a dictionary of valid arrays for this plan, under these settings."""
        if self.version is not version or self.threads != threads or feeds.__class__ is not dict:
            return False
        for name, array in self.inputs.items():
            value = feeds.get(name)
            if type(value) is not np.ndarray or value.shape != array.shape or value.dtype != array.dtype:
                return False
        for name, (dtype, shape, content) in self.known.items():
            value = feeds.get(name)
            if type(value) is not np.ndarray or value.dtype != dtype or value.shape != shape or value.tobytes() != content:
                return False
        return len(feeds) == len(self.inputs) + len(self.known)

    def run(self, feeds: Mapping[str, Array]) -> None:
        """Copy the inputs into their arrays and fill the outputs; both have the shapes of this plan."""
        for name, array in self.inputs.items():
            np.copyto(array, feeds[name])
        for step in self.steps:
            step()


def build_plan(graph: Graph, feeds: Mapping[str, Array], known: frozenset[str] | None, packed: dict[Any, Any]) -> Plan:
    """Build the plan for inputs of these shapes.

    The values of the inputs in ``known`` become constants of the plan. None means that there are no such inputs, and that no
    branch is chosen at run time. Raises ValueError for shapes that do not fit the graph, NotStatic if a shape depends on the
    values of other inputs.
    """
    may_fold = budget([*graph.all_arrays(), *feeds.values()])
    build, inputs, constants = Build(packed, known is not None, may_fold), {}, {}
    for name, value in feeds.items():
        if name in (known or ()):
            constants[name] = build.values[name] = build.constant(value.copy())
        else:
            inputs[name] = build.new(value.shape, value.dtype)
            build.name(name, inputs[name])
    with np.errstate(all="ignore"):
        outputs = build.add(graph, TABLE)
    return Plan(inputs, constants, build.steps, outputs)
