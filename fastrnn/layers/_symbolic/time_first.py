"""Adapter that runs a layer over ``[T, B, ...]`` on sequences ``[B, T, ...]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ..base import Layer
from .symbols import Nest, Spec


def first(outputs: Any) -> Any:
    """Return the output that the next layer reads, the first of several such as y and a state."""
    return outputs[0] if type(outputs) is tuple else outputs  # a Spec is a subclass of tuple, but a single output


def keeps_time(layer: Any, x: Any, y: Any) -> bool:
    """Return True if a layer's output y has x's time axis; x and y are arrays or specs."""
    if getattr(layer, "pointwise", False):
        return True
    declared: bool | None = getattr(layer, "gives_time", None)
    return _axes(y) >= _axes(x) if declared is None else declared


def _axes(value: Any) -> int:
    return len(value.shape) if isinstance(value, Spec) else np.ndim(value)


class TimeFirst(Layer):
    """Layer wrapper for arrays ``[B, T, ...]``: swaps time and batch in x and in y, the first output."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.takes_lengths, self.pointwise = layer.takes_lengths, layer.pointwise
        self.takes_need_dx, self.gives_time = layer.takes_need_dx, layer.gives_time

    def __call__(self, x: Array, **options: Any) -> Array:
        """Return y."""
        y = first(self.layer(self._inward(x), **options))
        return _swapped(y) if self._swaps_back(x, y) else y

    def forward(self, x: Array, **options: Any) -> tuple[Array, Callable[..., Array | None]]:
        """Return y and a backward that maps dy to dx."""
        outputs, backward = self.layer.forward(self._inward(x), **options)
        y = first(outputs)
        swaps = self._swaps_back(x, y)

        def backward_swapped(dy: Array, **options: Any) -> Array | None:
            dx = first(backward(_swapped(dy) if swaps else dy, **options))
            return None if dx is None else self._inward(dx)

        return (_swapped(y) if swaps else y), backward_swapped

    def infer(self, x: Nest, *others: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        y = first(self.layer.infer(_swapped_spec(x) if self.layer.reads_time else x))
        return _swapped_spec(y) if self._swaps_back(x, y) else y

    def lengths_after(self, lengths: Array) -> Array:
        """Return the lengths of y; see :meth:`Layer.lengths_after`."""
        return self.layer.lengths_after(lengths)

    def not_streaming(self) -> str | None:
        """Return why the layer cannot be streamed, or None."""
        return self.layer.not_streaming()

    def stream(self, x: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """Return ``y, state`` of the next chunk of time; see :meth:`Layer.stream`."""
        options = {"lengths": lengths} if self.takes_lengths else {}
        outputs, state = self.layer.stream(self._inward(x), state=state, **options)
        y = first(outputs)
        return (_swapped(y) if self._swaps_back(x, y) else y), state

    def _inward(self, x: Array) -> Array:
        return _swapped(x) if self.layer.reads_time else x

    def _swaps_back(self, x: Any, y: Any) -> bool:
        return self.layer.makes_time if not self.layer.reads_time else keeps_time(self.layer, x, y)


def _swapped(array: Array) -> Array:
    return array.swapaxes(0, 1)


def _swapped_spec(spec: Spec) -> Spec:
    if len(spec.shape) < 2:
        raise ValueError("x must have a time axis: [B, T, ...]")
    return Spec((spec.shape[1], spec.shape[0], *spec.shape[2:]), spec.dtype)
