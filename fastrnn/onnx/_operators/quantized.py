"""Quantised operators. Integers are multiplied in float64, which is exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from .._build import Build
from .._graph import Node
from .._schema import check_dtypes
from .convolution import conv
from .products import matmul
from .recurrent import recurrent
from .table import operator


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
    """Quantise x to 0..255 so that zero is exact."""

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


def _as_integers(b: Build, x: Array) -> Array:
    """Return a float64 value of whole numbers as int32."""
    out = b.like(x, np.int32)
    b.emit(lambda: np.copyto(out, x, casting="unsafe"))
    return out


def _less_zero(b: Build, x: Array, zero: Array | None, axis: int) -> Array:
    """Return ``x - zero`` in float64, computed once if both are constant."""
    given = [] if zero is None else [zero]
    if b.is_static(x) and b.is_static(zero):
        return b.constant(_shifted(x, zero, axis))
    return b.compute(lambda x, *zero: _shifted(x, zero[0] if zero else None, axis), x, *given)


@operator("MatMulInteger")
def matmul_integer(
    b: Build, node: Node, x: Array, y: Array, x_zero: Array | None = None, y_zero: Array | None = None
) -> Array:
    """Multiply in float64, in which the sums are exact."""
    return _as_integers(b, matmul(b, node, _less_zero(b, x, x_zero, -2), _less_zero(b, y, y_zero, -1)))


@operator("ConvInteger")
def conv_integer(b: Build, node: Node, x: Array, weight: Array, *zeros: Array | None) -> Array:
    """Convolve ``x - zero``; padding stands for zero after the subtraction."""
    x_zero, w_zero = [*zeros, None, None][:2]
    return _as_integers(b, conv(b, node, _less_zero(b, x, x_zero, 0), _less_zero(b, weight, w_zero, 0)))


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
    check_dtypes("LSTM", node.opset, [x, *weights, bias, lengths, h, c, peephole])
    same = Node("LSTM", node.name, node.inputs, node.outputs, node.attributes, node.opset)
    return recurrent(b, b.prepared(node, lambda: same), x, *weights, bias, lengths, h, c, peephole)
