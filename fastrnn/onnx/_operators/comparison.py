"""Comparisons, logic, choice, and conversion of dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from .._build import Build
from .._graph import Node
from .arithmetic import binary
from .table import operator

UFUNCS = {
    "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less,
    "LessOrEqual": np.less_equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
}  # fmt: skip
FUNCTIONS: dict[str, Any] = {"Not": np.logical_not, "IsNaN": np.isnan, "Where": np.where}


@operator(*UFUNCS)
def compare(b: Build, node: Node, x: Array, y: Array) -> Array:
    return binary(b, UFUNCS[node.op], x, y, np.dtype(bool))


@operator(*FUNCTIONS)
def computed(b: Build, node: Node, *inputs: Array) -> Array:
    return b.compute(FUNCTIONS[node.op], *inputs)


def dtype_of(node: Node) -> np.dtype[Any]:
    """Return the dtype to which a Cast converts."""
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(node.attributes["to"])


@operator("Cast")
def cast(b: Build, node: Node, x: Array) -> Array:
    return _converted(b, x, dtype_of(node))


@operator("CastLike")
def cast_like(b: Build, node: Node, x: Array, target: Array) -> Array:
    return _converted(b, x, target.dtype)


def _converted(b: Build, x: Array, dtype: np.dtype[Any]) -> Array:
    if x.dtype == dtype:
        return x
    if x.dtype.hasobject or dtype.hasobject or dtype.kind in "SU":
        raise ValueError("strings are not supported")
    out = b.like(x, dtype)
    b.emit(lambda: np.copyto(out, x, casting="unsafe"))
    return out
