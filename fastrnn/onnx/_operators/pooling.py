"""Pools over windows or over all places, and resizing by the nearest value."""

from __future__ import annotations

from math import prod

import numpy as np

from ..._core.arrays import Array
from .._build import Build
from .._graph import Node
from .table import operator
from .windows import channels_first, channels_last, padded, taps, window_of


@operator("MaxPool")
def max_pool(b: Build, node: Node, x: Array) -> Array:
    if len([name for name in node.outputs if name]) > 1:
        raise ValueError("Indices is not supported as an output")
    window = window_of(node, node.attributes["kernel_shape"], x.shape[2:])
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return channels_first(_folded(b, np.maximum, taps(padded(b, channels_last(x), window, lowest), window)))


def _folded(b: Build, ufunc: np.ufunc, views: list[Array]) -> Array:
    """Return ``ufunc`` over arrays of one shape, in their order."""
    out = b.new(views[0].shape, views[0].dtype)
    b.emit(np.copyto, out, views[0])
    for view in views[1:]:
        b.emit(ufunc, out, view, out=out)
    return out


@operator("AveragePool")
def average_pool(b: Build, node: Node, x: Array) -> Array:
    """Average over windows. Padding counts only with ``count_include_pad``; places that ceil_mode adds never count."""
    kernel, of = node.attributes["kernel_shape"], node.attributes
    window = window_of(node, kernel, x.shape[2:])
    ones = np.ones((1, *x.shape[2:], 1), x.dtype)
    if of.get("count_include_pad"):
        same = of.get("auto_pad", "NOTSET").startswith("SAME")
        pads = [*window.before, *window.after] if same else of.get("pads") or [0] * (2 * len(kernel))
        ones = np.ones(
            (1, *(n + p + q for n, p, q in zip(x.shape[2:], pads, pads[len(kernel) :], strict=False)), 1), x.dtype
        )
    sizes = zip(window.before, x.shape[2:], window.after, ones.shape[1:-1], strict=True)
    inside = [(0, p + n + q - m) if of.get("count_include_pad") else (p, q) for p, n, q, m in sizes]
    counts: Array = sum(taps(np.pad(ones, [(0, 0), *inside, (0, 0)]), window))  # type: ignore[assignment]
    out = _folded(b, np.add, taps(padded(b, channels_last(x), window, 0), window))
    b.emit(np.divide, out, counts, out)
    return channels_first(out)


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(b: Build, node: Node, x: Array) -> Array:
    axes = tuple(range(2, x.ndim))
    if node.op == "GlobalMaxPool":
        return b.compute(lambda x: x.max(axes, keepdims=True), x)
    count = x.dtype.type(prod(x.shape[2:]))
    return b.compute(lambda x: x.sum(axes, keepdims=True) / count, x)


@operator("Resize", "Upsample")
def resize(b: Build, node: Node, x: Array, *inputs: Array | None) -> Array:
    """Resize by the nearest value, by whole factors."""
    factors, of = _factors(b, node, x, inputs), node.attributes
    if of.get("mode", "nearest") != "nearest" or any(f != int(f) or f < 1 for f in factors):
        raise ValueError(f"mode must be nearest and the factors whole, got {of.get('mode', 'nearest')} and {factors}")
    rule = of.get("coordinate_transformation_mode", "half_pixel"), of.get("nearest_mode", "round_prefer_floor")
    if rule not in (("half_pixel", "round_prefer_floor"), ("asymmetric", "floor")):
        raise ValueError(f"coordinates must be half_pixel and rounded, or asymmetric with floor, got {rule}")
    single = [each for n in x.shape for each in (n, 1)]
    wide = [each for n, f in zip(x.shape, factors, strict=True) for each in (n, int(f))]
    out = b.new([n * int(f) for n, f in zip(x.shape, factors, strict=True)], x.dtype)
    b.emit(np.copyto, out.reshape(wide), np.broadcast_to(b.contiguous(x).reshape(single), wide))
    return out


def _factors(b: Build, node: Node, x: Array, inputs: tuple[Array | None, ...]) -> list[float]:
    """Return the factor of each axis. Resize's inputs are scales before opset 11, and roi, scales, sizes since then."""
    given = [value if value is not None and value.size else None for value in inputs]
    if node.attributes.get("axes") is not None:
        raise ValueError("axes must be absent")
    if not given:
        return [float(f) for f in node.attributes["scales"]]
    scales = given[0] if node.op == "Upsample" or node.opset < 11 else given[1] if len(given) > 1 else None
    if scales is not None:
        return [float(f) for f in np.ravel(b.static(scales, "scales"))]
    sizes = given[2] if len(given) > 2 else None
    if sizes is None:
        raise ValueError("scales or sizes must be given")
    return [n / m for n, m in zip(b.ints(sizes, "sizes"), x.shape, strict=True)]
