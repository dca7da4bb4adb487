"""Quantised operators. Integers are multiplied as floats, which is exact up to 2**24."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._build import Build
from .._graph import Node
from .convolution import grouped
from .recurrent import recurrent
from .table import operator
from .windows import channels_first, channels_last, window_of

Array = NDArray[Any]


def _along(values: Array, ndim: int, axis: int) -> Array:
    """Return a scale or zero point ``[n]`` in a shape that broadcasts along an axis."""
    if values.ndim != 1 or values.size == 1:
        return values
    return values.reshape([-1 if i == axis % ndim else 1 for i in range(ndim)])


@operator("QuantizeLinear")
def quantize_linear(b: Build, node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    dtype, axis = np.dtype(np.uint8) if zero is None else zero.dtype, node.attributes.get("axis", 1)
    limits = np.iinfo(dtype)

    def quantised(x: Array, scale: Array, *zero: Array) -> Array:
        y = np.rint(x / _along(scale, x.ndim, axis))
        y = y + _along(zero[0], x.ndim, axis).astype(x.dtype) if zero else y
        return np.asarray(np.clip(y, limits.min, limits.max).astype(dtype))

    return b.compute(quantised, x, scale, *([] if zero is None else [zero]))


@operator("DequantizeLinear")
def dequantize_linear(b: Build, node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    axis = node.attributes.get("axis", 1)

    def floats(x: Array, scale: Array, *zero: Array) -> Array:
        shifted = x.astype(scale.dtype)
        if zero:
            shifted = shifted - _along(zero[0], x.ndim, axis).astype(scale.dtype)
        return shifted * _along(scale, x.ndim, axis)

    return b.compute(floats, x, scale, *([] if zero is None else [zero]))


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(b: Build, node: Node, x: Array) -> tuple[Array, Array, Array]:
    """Scale to 0..255 so that zero is exact."""

    def scale_of(x: Array) -> Array:
        return np.asarray((max(x.max(), x.dtype.type(0)) - min(x.min(), x.dtype.type(0))) / x.dtype.type(255), x.dtype)

    def zero_of(x: Array, scale: Array) -> Array:
        low = min(x.min(), x.dtype.type(0))
        return np.asarray(np.clip(np.rint(-low / scale) if scale else 0, 0, 255), np.uint8)

    def quantised(x: Array, scale: Array, zero: Array) -> Array:
        return np.asarray(np.clip(np.rint(x / scale if scale else x) + zero.astype(x.dtype), 0, 255).astype(np.uint8))

    scale = b.compute(scale_of, x)
    zero = b.compute(zero_of, x, scale)
    return b.compute(quantised, x, scale, zero), scale, zero


def _shifted(x: Array, zero: Array | None, axis: int) -> Array:
    """Return ``x - zero`` in float64, in which sums of products stay exact."""
    wide = x.astype(np.float64)
    return wide if zero is None else wide - _along(zero, x.ndim, axis).astype(np.float64)


@operator("MatMulInteger")
def matmul_integer(
    b: Build, node: Node, x: Array, y: Array, x_zero: Array | None = None, y_zero: Array | None = None
) -> Array:
    given = [value for value in (x_zero, y_zero) if value is not None]

    def product(x: Array, y: Array, *zeros: Array) -> Array:
        left = iter(zeros)
        first = _shifted(x, next(left) if x_zero is not None else None, -2)
        return np.asarray(first @ _shifted(y, next(left) if y_zero is not None else None, -1), np.int32)

    return b.compute(product, x, y, *given)


@operator("ConvInteger")
def conv_integer(b: Build, node: Node, x: Array, weight: Array, *zeros: Array | None) -> Array:
    """Convolution of ``x - zero``; padding stands for zero after the subtraction."""
    groups, window = node.attributes.get("group", 1), window_of(node, weight.shape[2:], x.shape[2:])
    x_zero, w_zero = [*zeros, None, None][:2]
    widths = [(0, 0), *zip(window.before, window.after, strict=True), (0, 0)]
    given = [value for value in (x_zero, w_zero) if value is not None]

    def convolved(x: Array, weight: Array, *zeros: Array) -> Array:
        left = iter(zeros)
        shifted = _shifted(x, next(left) if x_zero is not None else None, 0)
        kernel = _shifted(weight, next(left) if w_zero is not None else None, 0)
        return np.asarray(grouped(np.pad(channels_last(shifted), widths), window, groups, kernel), np.int32)

    return channels_first(b.compute(convolved, x, weight, *given))


@operator("com.microsoft.DynamicQuantizeLSTM")
def dynamic_quantize_lstm(b: Build, node: Node, x: Array, W: Array, R: Array, *rest: Array | None) -> Any:
    """Run an LSTM on the kernels, with W ``[D,I,4*H]`` and R ``[D,H,4*H]`` as floats and x unquantised."""
    bias, lengths, h, c, peephole, w_scale, w_zero, r_scale, r_zero = [*rest, *[None] * 9][:9]

    def floats(array: Array, scale: Array | None, zero: Array | None, name: str) -> Array:
        shifted = b.static(array, name).astype(x.dtype)
        parts = [b.static(part, name) for part in (scale, zero) if part is not None]
        wide = [part.reshape(len(array), 1, -1).astype(x.dtype) for part in parts]
        if zero is not None:
            shifted = shifted - wide[1]
        return b.constant(np.ascontiguousarray((shifted * wide[0]).swapaxes(1, 2)))

    weights = floats(W, w_scale, w_zero, "W"), floats(R, r_scale, r_zero, "R")
    same = Node("LSTM", node.name, node.inputs, node.outputs, node.attributes, node.opset)
    return recurrent(b, b.prepared(node, lambda: same), x, *weights, bias, lengths, h, c, peephole)
