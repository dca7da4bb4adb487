"""Windows over the last axes of a value, for convolutions and pools. Arrays are channels-last: ``[B, *S, C]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..._core.arrays import Array
from .._build import Build
from .._graph import Node


@dataclass(frozen=True, slots=True)
class Window:
    """Sizes of a window along each spatial axis. ``sizes`` are the output's; ``before`` and ``after`` the padding."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    sizes: tuple[int, ...]


def window_of(node: Node, kernel: Sequence[int], spatial: Sequence[int]) -> Window:
    """Return the window of a node over spatial axes of these sizes."""
    n, of = len(kernel), node.attributes
    strides, dilations = of.get("strides") or [1] * n, of.get("dilations") or [1] * n
    pads = of.get("pads") or [0] * (2 * n)
    sizes_of = {"kernel_shape": (kernel, len(spatial), 1), "strides": (strides, n, 1), "dilations": (dilations, n, 1)}
    for name, (values, count, least) in {**sizes_of, "pads": (pads, 2 * n, 0)}.items():
        if len(values) != count or min(values, default=least) < least:
            raise ValueError(f"{name} must hold {count} integers of at least {least}, got {list(values)}")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = of.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((-(-size // s) - 1) * s + span - size, 0) for size, s, span in zip(spatial, strides, spans, strict=True)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    else:
        pads = [0] * (2 * n) if auto == "VALID" else pads
        before, after = list(pads[:n]), list(pads[n:])
    sizes = []
    for axis in range(n):
        room = spatial[axis] + before[axis] + after[axis] - spans[axis]
        if of.get("ceil_mode") and room % strides[axis]:
            # The last window begins within the value or its padding before.
            more = -(-room // strides[axis])
            if more * strides[axis] < spatial[axis] + before[axis]:
                after[axis] += more * strides[axis] - room
                room = more * strides[axis]
        if room < 0:
            raise ValueError(f"the kernel of {list(kernel)} must fit into sizes {list(spatial)} with their padding")
        sizes.append(room // strides[axis] + 1)
    return Window(*map(tuple, (kernel, strides, dilations, before, after, sizes)))  # type: ignore[arg-type]


def channels_last(x: Array) -> Array:
    """Return ``[B,C,*S]`` as a view ``[B,*S,C]``."""
    return np.moveaxis(x, 1, -1)


def channels_first(x: Array) -> Array:
    """Return ``[B,*S,C]`` as a view ``[B,C,*S]``."""
    return np.moveaxis(x, -1, 1)


def padded(b: Build, x: Array, window: Window, fill: float) -> Array:
    """Return ``x [B,*S,C]`` with its padding: x itself if there is none, else an array into which x is copied."""
    if not any(window.before) and not any(window.after):
        return x
    spatial = [p + n + q for p, n, q in zip(window.before, x.shape[1:-1], window.after, strict=True)]
    out = np.full((x.shape[0], *spatial, x.shape[-1]), fill, x.dtype)  # its own memory: the padding is written once
    inner = tuple(slice(p, p + n) for p, n in zip(window.before, x.shape[1:-1], strict=True))
    b.emit(np.copyto, out[(slice(None), *inner)], x)
    return out


def windows(x: Array, window: Window) -> Array:
    """Return a view ``[B, *sizes, *kernel, C]`` of a padded value."""
    spatial = x.strides[1:-1]
    steps = [s * stride for s, stride in zip(spatial, window.strides, strict=True)]
    taps = [s * dilation for s, dilation in zip(spatial, window.dilations, strict=True)]
    shape = (x.shape[0], *window.sizes, *window.kernel, x.shape[-1])
    return as_strided(x, shape, (x.strides[0], *steps, *taps, x.strides[-1]), writeable=False)


def taps(x: Array, window: Window) -> list[Array]:
    """Return, for each place in the kernel, the view ``[B, *sizes, C]`` that it reads."""
    every, n = windows(x, window), len(window.kernel)
    return [every[(slice(None),) * (1 + n) + place] for place in np.ndindex(*window.kernel)]
