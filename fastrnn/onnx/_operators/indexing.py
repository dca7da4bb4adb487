"""Slices, gathering by indices, and positions of the largest values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from ..._core.checks import describe
from .._build import Build
from .._graph import Node
from .table import operator


@operator("Slice")
def slice_of(b: Build, node: Node, x: Array, *inputs: Array | None) -> Array:
    """Return a view. Starts, ends, axes and steps are inputs, or attributes before opset 10."""
    names = ("starts", "ends", "axes", "steps")
    given: dict[str, list[int]] = {n: b.ints(value, n) for n, value in zip(names, inputs, strict=False) if value is not None}
    if not inputs:
        given = {name: list(node.attributes[name]) for name in names if name in node.attributes}
    index = [slice(None)] * x.ndim
    axes = given.get("axes", range(len(given["starts"])))
    steps = given.get("steps", [1] * len(given["starts"]))
    for axis, start, end, step in zip(axes, given["starts"], given["ends"], steps, strict=True):
        n = x.shape[axis]
        if step < 0:  # an end before the first value is -1 in ONNX after clamping, and None for Python
            low = start + n if start < 0 else min(start, n - 1)
            stop = end + n if end < 0 else end
            index[axis] = slice(low, stop if stop >= 0 else None, step)
        else:
            index[axis] = slice(start, end, step)
    view: Array = x[tuple(index)]
    return view


@operator("Gather")
def gather(b: Build, node: Node, x: Array, indices: Array) -> Array:
    axis = node.attributes.get("axis", 0) % max(x.ndim, 1)
    if b.is_static(indices) and indices.ndim == 0:
        index = int(indices)
        if not -x.shape[axis] <= index < x.shape[axis]:
            raise ValueError(f"indices must lie in -{x.shape[axis]}..{x.shape[axis] - 1}, got {index}")
        at = index % x.shape[axis]
        part: Array = x[(slice(None),) * axis + (slice(at, at + 1),)]
        return part.squeeze(axis)
    out = b.new((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)

    def take() -> None:
        try:
            np.take(x, indices, axis, out, mode="raise")
        except IndexError:
            raise ValueError(f"indices must lie in -{x.shape[axis]}..{x.shape[axis] - 1} for Gather {node.name!r}") from None

    b.emit(take)
    return out


def _beside(x: Array, indices: Array, axis: int) -> Array:
    """Return the part of x that the indices cover. Along all axes but ``axis`` they may be shorter than x."""
    others = [n <= m for i, (n, m) in enumerate(zip(indices.shape, x.shape, strict=False)) if i != axis % x.ndim]
    if indices.ndim != x.ndim or not all(others):
        raise ValueError(f"indices must fit within x along all axes but {axis}, got shapes {indices.shape} and {x.shape}")
    return x[tuple(slice(None) if i == axis % x.ndim else slice(n) for i, n in enumerate(indices.shape))]


def _positive(indices: Array, n: int, node: Node) -> Array:
    """Return indices from 0 on. Raises ValueError for one outside ``-n..n-1``."""
    if ((indices < -n) | (indices >= n)).any():
        raise ValueError(f"{node.place}: indices must lie in -{n}..{n - 1}")
    return np.where(indices < 0, indices + n, indices)


@operator("GatherElements")
def gather_elements(b: Build, node: Node, x: Array, indices: Array) -> Array:
    axis = node.attributes.get("axis", 0)
    n = x.shape[axis]
    return b.compute(lambda x, i: np.take_along_axis(x, _positive(i, n, node), axis), _beside(x, indices, axis), indices)


@operator("ScatterElements")
def scatter_elements(b: Build, node: Node, x: Array, indices: Array, updates: Array) -> Array:
    if node.attributes.get("reduction", "none") != "none":
        raise ValueError("reduction must be none")
    axis = node.attributes.get("axis", 0)
    n = x.shape[axis]
    if updates.shape != indices.shape:
        raise ValueError(f"updates must have the shape of indices, {indices.shape}, got {describe(updates)}")

    def scatter(x: Array, indices: Array, updates: Array) -> Array:
        result = x.copy()
        np.put_along_axis(_beside(result, indices, axis), _positive(indices, n, node), updates, axis)
        return result

    return b.compute(scatter, x, indices, updates)


@operator("ArgMax", "ArgMin")
def arg_max(b: Build, node: Node, x: Array) -> Array:
    axis, keep = node.attributes.get("axis", 0), bool(node.attributes.get("keepdims", 1))
    function: Any = np.argmax if node.op == "ArgMax" else np.argmin
    if not node.attributes.get("select_last_index"):
        return b.compute(lambda x: function(x, axis=axis, keepdims=keep), x)
    return b.compute(lambda x: x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis, keepdims=keep), x)


@operator("OneHot")
def one_hot(b: Build, node: Node, indices: Array, depth: Array, values: Array) -> Array:
    n, axis = int(b.static(depth, "depth").item()), node.attributes.get("axis", -1)

    def rows(indices: Array, values: Array) -> Array:
        wanted = np.expand_dims(np.where(indices < 0, indices + n, indices), axis)
        counts = np.arange(n).reshape([n if i == axis % wanted.ndim else 1 for i in range(wanted.ndim)])
        return np.asarray(np.where(wanted == counts, values[1], values[0]))

    return b.compute(rows, indices, values)


@operator("TopK")
def top_k(b: Build, node: Node, x: Array, k: Array) -> tuple[Array, Array]:
    axis, sign = node.attributes.get("axis", -1), -1 if node.attributes.get("largest", 1) else 1
    count = int(b.static(k, "K").item())

    def positions(x: Array) -> Array:
        keys = np.argsort(x if sign > 0 else -x.astype(np.float64), axis=axis, kind="stable")
        return np.asarray(np.take(keys, np.arange(count), axis=axis))

    found = b.compute(positions, x)
    return b.compute(lambda x, found: np.take_along_axis(x, found, axis), x, found), found


@operator("CumSum")
def cum_sum(b: Build, node: Node, x: Array, axis: Array) -> Array:
    at, reverse = int(b.static(axis, "axis").item()), bool(node.attributes.get("reverse"))
    exclusive = bool(node.attributes.get("exclusive"))

    def sums(x: Array) -> Array:
        x = np.flip(x, at) if reverse else x
        total = np.cumsum(x, at, x.dtype)
        total = total - x if exclusive else total
        return np.flip(total, at) if reverse else total

    return b.compute(sums, x)
