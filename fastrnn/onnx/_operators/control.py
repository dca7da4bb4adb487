"""Control flow: a branch whose condition is known runs alone, without a test at run time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from .._build import Build
from .._graph import Node
from .table import TABLE, operator


@operator("If")
def if_node(b: Build, node: Node, condition: Array) -> list[Array]:
    branches = [node.attributes["else_branch"], node.attributes["then_branch"]]
    if not b.last_resort or b.is_static(condition):
        return b.add(branches[bool(b.static(condition, "the condition").item())], TABLE, inner=True)
    return _both(b, branches, condition)


def _both(b: Build, branches: list[Any], condition: Array) -> list[Array]:
    """Plan both branches; each run takes the steps of one. Their outputs must have the same shapes."""
    plans = []
    outer = b.steps
    for branch in branches:
        b.steps = []
        plans.append((b.add(branch, TABLE, inner=True), b.steps))
    b.steps = outer
    kinds = [[(a.shape, a.dtype) for a in outputs] for outputs, _ in plans]
    if kinds[0] != kinds[1]:
        raise ValueError(f"both branches must give the same shapes, got {kinds[1]} and {kinds[0]}")
    results = [b.new(shape, dtype) for shape, dtype in kinds[0]]

    def run() -> None:
        outputs, steps = plans[bool(condition.item())]
        for step in steps:
            step()
        for result, output in zip(results, outputs, strict=True):
            np.copyto(result, output)

    b.emit(run)
    return results
