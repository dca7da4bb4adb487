"""Operators that change shapes. Most give views, which cost nothing at run time."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..._core.arrays import Array
from .._build import Build
from .._graph import Node
from .table import operator


def axes_of(b: Build, node: Node, given: Array | None) -> list[int] | None:
    """Return the axes, which are an attribute in older opsets and an input in newer ones."""
    if given is not None:
        return b.ints(given, "axes")
    return node.attributes.get("axes")


@operator("Constant")
def constant(b: Build, node: Node) -> Array:
    ((name, value),) = node.attributes.items()
    if name.startswith("sparse"):
        raise ValueError("sparse constants are not supported")
    dtype: Any = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return b.constant(np.array(value, dtype.get(name)))


@operator("Identity")
def identity(b: Build, node: Node, x: Array) -> Array:
    return x


@operator("Dropout")
def dropout(b: Build, node: Node, x: Array, ratio: Array | None = None, training: Array | None = None) -> Any:
    if training is not None and b.static(training, "training_mode").item():
        raise ValueError("training_mode must be False")
    return x, b.constant(np.ones(x.shape, bool))


@operator("Shape")
def shape(b: Build, node: Node, x: Array) -> Array:
    first, last = node.attributes.get("start", 0), node.attributes.get("end", x.ndim)
    return b.constant(np.array(x.shape[first:last], np.int64))


@operator("Size")
def size(b: Build, node: Node, x: Array) -> Array:
    return b.constant(np.array(x.size, np.int64))


@operator("ConstantOfShape")
def constant_of_shape(b: Build, node: Node, shape: Array) -> Array:
    value = node.attributes.get("value", np.zeros(1, np.float32))
    return b.constant(np.full(b.ints(shape, "the shape"), value.item(), value.dtype))


@operator("Range")
def range_of(b: Build, node: Node, start: Array, limit: Array, delta: Array) -> Array:
    first, last, by = (b.static(value, "a bound").item() for value in (start, limit, delta))
    return b.constant(np.arange(first, last, by, dtype=start.dtype))


def reshaped(b: Build, x: Array, shape: tuple[int, ...]) -> Array:
    """Return x in another shape, as a view if the order of its axes allows one."""
    try:
        view = x.view()
        view.shape = shape
        return view
    except AttributeError:
        return b.contiguous(x).reshape(shape)


@operator("Reshape")
def reshape(b: Build, node: Node, x: Array, shape: Array) -> Array:
    sizes = b.ints(shape, "shape")
    if not node.attributes.get("allowzero"):
        sizes = [n or x.shape[axis] for axis, n in enumerate(sizes)]
    if -1 in sizes:
        rest = prod(n for n in sizes if n != -1)
        sizes[sizes.index(-1)] = x.size // rest if rest else 0
    if prod(sizes) != x.size:
        raise ValueError(f"shape must hold the {x.size} values of {x.shape}, got {sizes}")
    return reshaped(b, x, tuple(sizes))


@operator("Flatten")
def flatten(b: Build, node: Node, x: Array) -> Array:
    axis = node.attributes.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return reshaped(b, x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


@operator("Squeeze")
def squeeze(b: Build, node: Node, x: Array, axes: Array | None = None) -> Array:
    found = axes_of(b, node, axes)
    return x.squeeze() if found is None else x.squeeze(tuple(found))


@operator("Unsqueeze")
def unsqueeze(b: Build, node: Node, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, tuple(axes_of(b, node, axes) or ()))


@operator("Transpose")
def transpose(b: Build, node: Node, x: Array) -> Array:
    return x.transpose(node.attributes.get("perm"))


@operator("Concat")
def concat(b: Build, node: Node, *inputs: Array) -> Array:
    if len(inputs) == 1:
        return inputs[0]
    axis = node.attributes["axis"] % inputs[0].ndim
    sizes = list(inputs[0].shape)
    sizes[axis] = sum(x.shape[axis] for x in inputs)
    out = b.new(sizes, inputs[0].dtype)
    start = 0
    for x in inputs:
        part = out[(slice(None),) * axis + (slice(start, start + x.shape[axis]),)]
        if part.shape != x.shape:
            raise ValueError(f"inputs must agree in all axes but {axis}, got {[x.shape for x in inputs]}")
        b.emit(np.copyto, part, x)
        start += x.shape[axis]
    return out


@operator("Split")
def split(b: Build, node: Node, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    axis, count = node.attributes.get("axis", 0), len(node.outputs)
    parts = node.attributes.get("split") if sizes is None else b.ints(sizes, "split")
    if parts is None:
        each = -(-x.shape[axis] // count)
        parts = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    if sum(parts) != x.shape[axis]:
        raise ValueError(f"split must sum to {x.shape[axis]}, got {parts}")
    return tuple(np.split(x, np.cumsum(parts)[:-1], axis=axis))


@operator("Expand")
def expand(b: Build, node: Node, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(b.ints(shape, "shape"))))


@operator("Tile")
def tile(b: Build, node: Node, x: Array, repeats: Array) -> Array:
    counts = b.ints(repeats, "repeats")
    return b.compute(lambda x: np.tile(x, counts), x)


@operator("Pad")
def pad(b: Build, node: Node, x: Array, *inputs: Array | None) -> Array:
    """Pad x; negative pads cut. Pads and value are attributes before opset 11, and inputs, with axes, since then."""
    pads, value, axes = [*inputs, None, None, None][:3]
    sizes = node.attributes["pads"] if pads is None else b.ints(pads, "pads")
    on = range(x.ndim) if axes is None else [axis % x.ndim for axis in b.ints(axes, "axes")]
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(on):
        widths[axis] = (sizes[i], sizes[i + len(sizes) // 2])
    inside = x[tuple(slice(max(-low, 0), n - max(-high, 0)) for n, (low, high) in zip(x.shape, widths, strict=True))]
    widths = [(max(low, 0), max(high, 0)) for low, high in widths]
    mode = node.attributes.get("mode", "constant")
    if mode != "constant":
        return _mirrored(b, inside, widths, mode)
    fill = node.attributes.get("value", 0) if value is None else b.static(value, "constant_value").item()
    out = b.new([n + low + high for n, (low, high) in zip(inside.shape, widths, strict=True)], x.dtype)
    if any(map(any, widths)):
        b.emit(out.fill, fill)
    b.emit(np.copyto, out[tuple(slice(low, low + n) for n, (low, _) in zip(inside.shape, widths, strict=True))], inside)
    return out


def _mirrored(b: Build, x: Array, widths: list[tuple[int, int]], mode: Any) -> Array:
    """Pad with x's own values. One axis is padded by reflection with copies of views; NumPy does all other cases."""
    padded = [axis for axis, width in enumerate(widths) if any(width)]
    if mode != "reflect" or len(padded) != 1 or max(widths[padded[0]]) >= x.shape[padded[0]]:
        return b.compute(lambda: np.pad(x, widths, mode))
    (axis,) = padded
    (low, high), n = widths[axis], x.shape[axis]
    out = b.new([*x.shape[:axis], low + n + high, *x.shape[axis + 1 :]], x.dtype)
    target, source = np.moveaxis(out, axis, 0), np.moveaxis(x, axis, 0)
    b.emit(np.copyto, target[low : low + n], source)
    if low:
        b.emit(np.copyto, target[:low], source[low:0:-1])
    if high:
        b.emit(np.copyto, target[low + n :], source[n - high - 1 : n - 1][::-1])
    return out
