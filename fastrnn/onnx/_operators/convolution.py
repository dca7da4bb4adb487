"""Convolutions as products of the windows' rows, on the backend's linear layer.

Values are stored channels-last, so the row of a window consists of a few contiguous pieces, and the product's rows are the
result.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..._core.arrays import Array
from ..._core.checks import describe
from .._build import FLOATS, Build
from .._graph import Node
from .products import linear_into
from .table import operator
from .windows import Window, channels_first, channels_last, padded, taps, window_of, windows

# Windows are copied and multiplied in blocks of about this size, so that the copies stay in the second-level cache.
BLOCK_BYTES = 512 * 1024


@operator("Conv")
def conv(b: Build, node: Node, x: Array, weight: Array, bias: Array | None = None) -> Array:
    groups, channels = node.attributes.get("group", 1), weight.shape[0]
    if x.ndim != weight.ndim or x.shape[1] != weight.shape[1] * groups or channels % groups:
        raise ValueError(f"W must fit X and {groups} groups, got shapes {weight.shape} and {x.shape}")
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"B must be of shape ({channels},), got {describe(bias)}")
    window = window_of(node, weight.shape[2:], x.shape[2:])
    inner = padded(b, channels_last(x), window, 0)
    constant = b.is_static(weight) and b.is_static(bias) and x.dtype in FLOATS
    if groups == x.shape[1] == channels and groups > 1 and constant:
        return channels_first(_depthwise(b, inner, window, weight, bias))
    if groups == 1 and constant:
        return channels_first(_product(b, node, inner, window, weight, bias))
    return channels_first(b.compute(lambda x, *w: _grouped(x, window, groups, *w), inner, *_given(weight, bias)))


def _given(weight: Array, bias: Array | None) -> list[Array]:
    return [weight] if bias is None else [weight, bias]


def _product(b: Build, node: Node, x: Array, window: Window, weight: Array, bias: Array | None) -> Array:
    """Return ``y [B, *sizes, O]``: each window is a row, ``prod(kernel)*C`` wide, and a product with the weights."""
    channels, width = len(weight), prod(window.kernel) * x.shape[-1]
    out = b.new((x.shape[0], *window.sizes, channels), x.dtype)

    def matrix() -> tuple[Array, Array | None]:
        return channels_last(weight).reshape(channels, -1), bias

    if prod(window.kernel) == 1 and x.flags.c_contiguous and set(window.strides) == {1}:
        linear_into(b, node, x.reshape(-1, width), matrix, out.reshape(-1, channels))  # each value is its own window
        return out
    parts = _blocks(windows(x, window), out, width * x.itemsize)
    rows = b.new((max(target[..., 0].size for _, target in parts), width), x.dtype)
    for part, target in parts:
        source = rows[: target[..., 0].size]
        b.emit(np.copyto, source.reshape(part.shape), part)
        linear_into(b, node, source, matrix, target.reshape(-1, channels))
    return out


def _blocks(every: Array, out: Array, row_bytes: int) -> list[tuple[Array, Array]]:
    """Return parts of the windows and of the output: all at once, or lines of each example that fill a block."""
    if out[..., 0].size * row_bytes <= BLOCK_BYTES or not out.size:
        return [(every, out)]
    lines = max(1, BLOCK_BYTES // (out[0, 0, ..., 0].size * row_bytes))
    places = [(k, slice(first, first + lines)) for k in range(len(out)) for first in range(0, out.shape[1], lines)]
    return [(every[place], out[place]) for place in places]


def _depthwise(b: Build, x: Array, window: Window, weight: Array, bias: Array | None) -> Array:
    """Multiply each channel by its own kernel, place by place."""
    out = b.new((x.shape[0], *window.sizes, x.shape[-1]), x.dtype)
    part = b.new(out.shape, x.dtype)
    factors = channels_last(weight[:, 0][:, None]).reshape(len(weight), -1).T.copy()
    for i, (tap, factor) in enumerate(zip(taps(x, window), factors, strict=True)):
        b.emit(np.multiply, tap, factor, part if i else out)
        if i:
            b.emit(np.add, out, part, out)
    if bias is not None:
        b.emit(np.add, out, bias, out)
    return out


def _grouped(x: Array, window: Window, groups: int, weight: Array, bias: Array | None = None) -> Array:
    """Return the convolution of a padded ``x [B,*S,C]`` in any dtype, for any weights ``[O, C/groups, *kernel]``."""
    every, n = windows(x, window), len(window.kernel)
    each_in, each_out = x.shape[-1] // groups, len(weight) // groups
    parts = [
        np.tensordot(
            every[..., g * each_in : (g + 1) * each_in],
            channels_last(weight[g * each_out : (g + 1) * each_out]),
            (range(1 + n, 2 + 2 * n), range(1, 2 + n)),
        )
        for g in range(groups)
    ]
    y = np.concatenate(parts, axis=-1)
    return y if bias is None else y + bias


@operator("ConvTranspose")
def conv_transpose(b: Build, node: Node, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Add to the output, for each value, the kernel times that value."""
    n, groups, of = x.ndim - 2, node.attributes.get("group", 1), node.attributes
    if groups != 1 or of.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in of:
        raise ValueError("group must be 1, auto_pad NOTSET and output_shape absent")
    strides, dilations = of.get("strides") or [1] * n, of.get("dilations") or [1] * n
    pads, extra = of.get("pads") or [0] * (2 * n), of.get("output_padding") or [0] * n
    kernel, spatial = weight.shape[2:], x.shape[2:]
    full = [(spatial[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + extra[i] for i in range(n)]

    def run(x: Array, weight: Array, *bias: Array) -> Array:
        y = np.zeros((len(x), weight.shape[1], *full), x.dtype)
        for place in np.ndindex(*kernel):
            first = [p * d for p, d in zip(place, dilations, strict=True)]
            at = tuple(slice(f, f + (spatial[i] - 1) * strides[i] + 1, strides[i]) for i, f in enumerate(first))
            product = np.tensordot(x, weight[(slice(None), slice(None), *place)], (1, 0))
            y[(slice(None), slice(None), *at)] += channels_first(product)
        y = y[(slice(None), slice(None), *(slice(pads[i], full[i] - pads[i + n]) for i in range(n)))]
        return y + bias[0].reshape(-1, *[1] * n) if bias else y

    return b.compute(run, x, *_given(weight, bias))
