"""States of a model that runs step by step: which output feeds which input, and the states of the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._core.arrays import Array
from ._graph import Graph


def state_pairs(graph: Graph, given: Mapping[str, str] | None) -> dict[str, str]:
    """Return the input that receives each state, by the name of the output. Raises ValueError for unknown names."""
    if given is not None:
        for kind, names, known in (("outputs", given.keys(), graph.outputs), ("inputs", given.values(), graph.inputs)):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ValueError(f"state must name {kind} of the model ({', '.join(known)}), got {unknown[0]!r}")
        return dict(given)
    return {output: name for output in graph.outputs if (name := _input_of(output, graph)) is not None}


def _input_of(output: str, graph: Graph) -> str | None:
    for name in graph.inputs:
        if output in (f"{name}N", f"{name}n", f"{name}_n", f"{name}_out", f"n{name}", f"new_{name}", f"{name}_next"):
            return name
        if name.endswith(("_in", "0", "_0")) and output in (name[: -len("_in")] + "_out", name[:-1] + "n", name[:-2] + "_n"):
            return name
    return None


def initial_states(graph: Graph, pairs: Mapping[str, str], inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Return zeros for all states. A named axis has its size in the inputs, an axis that the file leaves open size 1."""
    sizes: dict[Any, int] = {}
    for name, declared in graph.inputs.items():
        value = inputs.get(name)
        if isinstance(value, np.ndarray) and declared.axes is not None:
            sizes.update(zip(declared.axes, value.shape, strict=False))
    states = {}
    for name in pairs.values():
        dtype, axes = graph.inputs[name]
        if axes is None:
            raise ValueError(f"the file has no shape of {name}: call reset with arrays for the first states")
        states[name] = np.zeros(
            [axis if isinstance(axis, int) else sizes.get(axis, 1) if axis else 1 for axis in axes], dtype
        )
    return states
