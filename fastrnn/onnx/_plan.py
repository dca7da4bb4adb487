"""A plan: the steps of a graph for one set of input shapes, in memory that every run reuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._build import Build, Step
from ._graph import Graph
from ._operators import TABLE

Array = NDArray[Any]


class Plan:
    """Inputs and outputs as arrays that stay the same, and the steps between them."""

    __slots__ = ("inputs", "outputs", "steps")

    def __init__(self, inputs: dict[str, Array], steps: list[Step], outputs: list[Array]) -> None:
        self.inputs, self.steps, self.outputs = inputs, steps, outputs

    def run(self, feeds: Mapping[str, Array]) -> None:
        """Copy the inputs into their arrays and fill the outputs; both have the shapes of this plan."""
        for name, array in self.inputs.items():
            np.copyto(array, feeds[name])
        for step in self.steps:
            step()


def build_plan(graph: Graph, feeds: Mapping[str, Array], known: frozenset[str] | None, packed: dict[Any, Any]) -> Plan:
    """Build the plan for inputs of these shapes.

    The values of the inputs in ``known`` become constants of the plan; None is no such input, and no branch that is chosen
    at run time. Raises ValueError for shapes that do not fit the graph, NotStatic if a shape depends on the values of other
    inputs.
    """
    build, inputs = Build(packed, known is not None), {}
    for name, value in feeds.items():
        if name in (known or ()):
            build.values[name] = build.constant(value.copy())
        else:
            inputs[name] = build.new(value.shape, value.dtype)
            build.name(name, inputs[name])
    with np.errstate(all="ignore"):
        outputs = build.add(graph, TABLE)
    return Plan(inputs, build.steps, outputs)
