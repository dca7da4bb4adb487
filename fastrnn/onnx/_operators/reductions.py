"""Sums, means and other reductions over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from .._build import FLOATS, Build
from .._graph import Node
from .shapes import axes_of, reshaped
from .table import operator


def _log_sum_exp(x: Array, **on: Any) -> Array:
    """Return ``log(sum(exp(x)))``. It does not overflow, because each sum is divided by its largest term."""
    x = x.astype(np.result_type(x, np.float32))
    top = x.max(on["axis"], keepdims=True, initial=-np.inf)
    top[~np.isfinite(top)] = 0
    return np.asarray(np.log(np.exp(x - top).sum(**on)) + top.sum(**on))


PLAIN: dict[str, Any] = {
    "ReduceSum": np.add.reduce, "ReduceProd": np.multiply.reduce,
    "ReduceMax": np.maximum.reduce, "ReduceMin": np.minimum.reduce,
}  # fmt: skip
COMPOSED: dict[str, Any] = {
    "ReduceMean": lambda x, **on: np.mean(x, dtype=x.dtype, **on),
    "ReduceL1": lambda x, **on: np.abs(x).sum(dtype=x.dtype, **on),
    "ReduceL2": lambda x, **on: np.sqrt(np.square(x).sum(**on)),
    "ReduceSumSquare": lambda x, **on: np.square(x).sum(dtype=x.dtype, **on),
    "ReduceLogSum": lambda x, **on: np.log(x.sum(**on)),
    "ReduceLogSumExp": _log_sum_exp,
}


@operator(*PLAIN, *COMPOSED)
def reduce(b: Build, node: Node, x: Array, axes: Array | None = None) -> Array:
    found = axes_of(b, node, axes)
    if not found and node.attributes.get("noop_with_empty_axes"):
        return x
    on: dict[str, Any] = {"axis": tuple(found) if found else None, "keepdims": bool(node.attributes.get("keepdims", 1))}
    if x.dtype in FLOATS and node.op in ("ReduceMean", "ReduceSum", "ReduceMax") and x.size:
        return _reduced(b, node, x, **on)
    if node.op in PLAIN:
        on["dtype"] = x.dtype
    function = PLAIN.get(node.op) or COMPOSED[node.op]
    return b.compute(lambda x: np.asarray(function(x, **on), x.dtype), x)


def _reduced(b: Build, node: Node, x: Array, axis: tuple[int, ...] | None, keepdims: bool) -> Array:
    """Reduce without allocation; over axes of size 1 the result is a view."""
    ufunc: Any = np.maximum if node.op == "ReduceMax" else np.add
    shape = ufunc.reduce(np.broadcast_to(x.dtype.type(0), x.shape), axis=axis, keepdims=keepdims).shape
    count = x.size // max(int(np.prod(shape)), 1)
    if count == 1:
        return reshaped(b, x, shape)
    out = b.new(shape, x.dtype)
    b.emit(ufunc.reduce, x, axis, None, out, keepdims)
    if node.op == "ReduceMean":
        b.emit(np.multiply, out, x.dtype.type(1 / count), out)
    return out
