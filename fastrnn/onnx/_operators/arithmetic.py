"""Arithmetic on values of two or more inputs, with broadcasting."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from ..._core.arrays import Array
from .._build import Build
from .._graph import Node
from .table import operator

UFUNCS = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}


def binary(b: Build, ufunc: np.ufunc, x: Array, y: Array, dtype: Any = None) -> Array:
    """Return a value that holds ``ufunc(x, y)``; it overwrites an input that no later node reads."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    dtype = dtype or np.result_type(x.dtype, y.dtype)
    for operand in (x, y):
        if operand.shape == shape and operand.dtype == dtype:
            out = b.into(operand)
            break
    else:
        wider = x if x.ndim == len(shape) else y
        out = b.like(np.broadcast_to(wider, shape), dtype) if wider.shape == shape else b.new(shape, dtype)
    b.emit(ufunc, x, y, out=out)
    return out


@operator(*UFUNCS)
def elementwise(b: Build, node: Node, x: Array, y: Array) -> Array:
    return binary(b, UFUNCS[node.op], x, y)


@operator("Div")
def div(b: Build, node: Node, x: Array, y: Array) -> Array:
    """Divide; integers are rounded towards zero, as in C."""
    if x.dtype.kind in "iu":
        return b.compute(lambda x, y: np.trunc(x / np.where(y == 0, 1, y)).astype(x.dtype), x, y)
    return binary(b, np.divide, x, y)


@operator("Pow")
def power(b: Build, node: Node, x: Array, y: Array) -> Array:
    if b.is_static(y) and y.size == 1 and y.item() == 2:
        return binary(b, np.multiply, x, x)
    return b.compute(lambda x, y: np.power(x, y).astype(x.dtype), x, y)


@operator("Mod")
def mod(b: Build, node: Node, x: Array, y: Array) -> Array:
    if node.attributes.get("fmod"):
        return b.compute(np.fmod, x, y)
    return b.compute(np.mod if x.dtype.kind == "f" else lambda x, y: x % np.where(y == 0, 1, y), x, y)


@operator("Sum", "Max", "Min")
def fold(b: Build, node: Node, first: Array, *rest: Array) -> Array:
    ufunc = {"Sum": np.add, "Max": np.maximum, "Min": np.minimum}[node.op]
    if len(rest) == 1:
        return binary(b, ufunc, first, rest[0])
    return b.compute(lambda *inputs: reduce(ufunc, inputs), first, *rest)


@operator("Mean")
def mean(b: Build, node: Node, *inputs: Array) -> Array:
    return b.compute(lambda *inputs: reduce(np.add, inputs) / inputs[0].dtype.type(len(inputs)), *inputs)
