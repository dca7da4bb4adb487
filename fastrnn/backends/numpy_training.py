"""Loss, gradient clipping and optimisers in NumPy, for backends without their own; they also specify the others' results.

All functions work in place and chunk by chunk, with scratch memory from the pool.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._core.arrays import Array
from .._core.memory import empty
from .structs import Rule, Slot

# Elements of a chunk, whose arrays must stay in the L2 cache: the softmax has few of them, Adam six.
SOFTMAX_CHUNK = 65536
CHUNK = 16384


def row_chunks(rows: int, width: int, elements: int) -> Iterator[slice]:
    """Yield slices of rows of size ``width`` that have about ``elements`` elements each."""
    step = max(1, elements // max(1, width))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _chunks(*arrays: Array) -> Iterator[list[Array]]:
    """Yield lists with corresponding views of CHUNK elements of C-contiguous arrays of one size."""
    flat = [array.reshape(-1) for array in arrays]
    return ([array[i : i + CHUNK] for array in flat] for i in range(0, flat[0].size, CHUNK))


class NumpyTraining:
    """Training part of :class:`fastrnn.backends.base.Backend`, which needs no preparation of arrays and slots."""

    def softmax_cross_entropy(
        self, x: Array, targets: Array, mask: Array | None, ignore_index: int, mean: bool
    ) -> tuple[float, Array] | None:
        """Return the loss and dx, or None if an unmasked target is out of range."""
        N, V = x.shape
        unmasked = targets != ignore_index
        if mask is not None:
            unmasked &= mask
        if ((targets < 0) | (targets >= V))[unmasked].any():
            return None
        scale = 1.0 / max(1, int(np.count_nonzero(unmasked))) if mean else 1.0
        dx = empty(x.shape, x.dtype)
        total = 0.0
        with np.errstate(invalid="ignore", over="ignore"):  # a row with +inf or only -inf has no softmax: NaN, as in torch
            for rows in row_chunks(N, V, SOFTMAX_CHUNK):
                total += _softmax_rows(x[rows], targets[rows], unmasked[rows], scale, dx[rows])
        return total * scale, dx

    def prepare_arrays(self, arrays: Sequence[Array]) -> Any:
        """Return the arrays unchanged."""
        return arrays

    def squares(self, prepared: Any) -> float:
        """Return the sum of all squares."""
        scratch = empty(CHUNK, np.float64)
        total = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for array in prepared:
                for (chunk,) in _chunks(array):
                    squares = scratch[: chunk.size]
                    np.multiply(chunk, chunk, out=squares, dtype=np.float64)
                    total += float(squares.sum())
        return total

    def scale(self, prepared: Any, factor: float) -> None:
        """Multiply all values by a factor."""
        with np.errstate(invalid="ignore"):  # infinity times zero
            for array in prepared:
                array *= factor

    def clamp(self, prepared: Any, bound: float) -> None:
        """Clip all values to -bound..bound."""
        with np.errstate(over="ignore"):  # a bound above the dtype's range is infinity
            for array in prepared:
                np.clip(array, -bound, bound, out=array)

    def prepare_update(self, slots: Sequence[Slot]) -> Any:
        """Return the slots unchanged."""
        return slots

    def update(self, prepared: Any, rule: Rule) -> None:
        """Apply one step of the rule."""
        scratch = {dtype: empty((2, CHUNK), dtype) for dtype in {slot.w.dtype for slot in prepared}}
        for slot in prepared:
            slot.steps[0] += 1
            arrays = [slot.w, slot.g, *(array for array in slot.state if array is not None)]
            for w, g, *there in _chunks(*arrays):
                state = [None if array is None else there.pop(0) for array in slot.state]
                one, two = scratch[w.dtype][:, : w.size]
                _RULES[rule.kind](rule, int(slot.steps[0]), w, g, state, one, two)


def _softmax_rows(x: Array, ids: Array, unmasked: Array, scale: float, d: Array) -> float:
    """Return the summed loss of rows ``x [n,V]``, and write their gradient times ``scale`` to ``d [n,V]``."""
    ignored = ~unmasked
    ids = np.where(unmasked, ids, 0)
    row = np.arange(len(x))
    largest = x.max(axis=1)
    np.subtract(x, largest[:, None], out=d)
    np.exp(d, out=d)
    sums = d.sum(axis=1)
    losses = np.log(sums, dtype=np.float64) + np.subtract(largest, x[row, ids], dtype=np.float64)
    losses[ignored] = 0
    d *= (scale / sums)[:, None]
    d[row, ids] -= scale
    d[ignored] = 0
    return float(losses.sum())


# Each rule updates a chunk w and its state from the gradient g, which it does not change. ``one`` and ``two`` are scratch.


def _decayed(w: Array, g: Array, weight_decay: float, out: Array) -> Array:
    """Return g + weight_decay * w, written to ``out``, or g itself without decay."""
    if weight_decay == 0:
        return g
    np.multiply(w, weight_decay, out=out)
    out += g
    return out


def _move_towards(mean: Array, g: Array, weight: float, scratch: Array) -> None:
    """Set mean to mean + weight (g - mean), torch's lerp."""
    np.subtract(g, mean, out=scratch)
    scratch *= weight
    mean += scratch


def _sgd(rule: Rule, step: int, w: Array, g: Array, state: Sequence[Array | None], one: Array, two: Array) -> None:
    g = _decayed(w, g, rule.weight_decay, one)
    v = state[0]
    if v is not None:
        v *= rule.momentum
        v += g
        if rule.nesterov:
            np.multiply(v, rule.momentum, out=two)
            two += g
            g = two
        else:
            g = v
    np.multiply(g, rule.lr, out=one)
    w -= one


def _rmsprop(rule: Rule, step: int, w: Array, g: Array, state: Sequence[Array | None], one: Array, two: Array) -> None:
    g = _decayed(w, g, rule.weight_decay, one)
    s, v, mean = state
    assert s is not None
    s *= rule.alpha
    np.multiply(g, 1 - rule.alpha, out=two)
    two *= g
    s += two
    if mean is not None:
        _move_towards(mean, g, 1 - rule.alpha, two)
        np.multiply(mean, mean, out=two)
        np.subtract(s, two, out=two)
        np.maximum(two, 0, out=two)  # rounding can make the variance negative (NaN in torch)
        np.sqrt(two, out=two)
    else:
        np.sqrt(s, out=two)
    two += rule.eps
    np.divide(g, two, out=two)
    if v is not None:
        v *= rule.momentum
        v += two
        np.multiply(v, rule.lr, out=two)
    else:
        two *= rule.lr
    w -= two


def _adam(rule: Rule, step: int, w: Array, g: Array, state: Sequence[Array | None], one: Array, two: Array) -> None:
    if rule.decoupled:
        w *= 1 - rule.lr * rule.weight_decay
    else:
        g = _decayed(w, g, rule.weight_decay, one)
    m, v = state
    assert m is not None
    assert v is not None
    _move_towards(m, g, 1 - rule.beta1, two)
    v *= rule.beta2
    np.multiply(g, 1 - rule.beta2, out=two)
    two *= g
    v += two
    np.sqrt(v, out=two)
    two /= math.sqrt(1 - rule.beta2**step)
    two += rule.eps
    np.divide(m, two, out=two)
    two *= rule.lr / (1 - rule.beta1**step)
    w -= two


_RULES = {"sgd": _sgd, "rmsprop": _rmsprop, "adam": _adam}
