"""Loss, operations on all gradients, and optimisers, in the C library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ..._core.memory import empty
from ..structs import Rule, Slot
from .library import DTYPES, NULL, ffi, from_buffer, int64s, lib, pointer, settings, take_workspace

# Keyed by dtype.char, because hashing a dtype and reading its name are slow.
_DTYPES = {np.dtype(name).char: number for name, number in DTYPES.items()}
_RULES = {"sgd": lib.FASTRNN_SGD, "rmsprop": lib.FASTRNN_RMSPROP, "adam": lib.FASTRNN_ADAM}


def _by_dtype(arrays: Sequence[Array]) -> list[tuple[int, Sequence[int]]]:
    """Group array indices by dtype, as the library's number for it, because one library call takes one dtype."""
    chars = [array.dtype.char for array in arrays]
    kinds = sorted(set(chars))
    if len(kinds) == 1:
        return [(_DTYPES[chars[0]], range(len(chars)))]
    return [(_DTYPES[kind], [i for i, char in enumerate(chars) if char == kind]) for kind in kinds]


class PreparedUpdate:
    """Parameters of one dtype in the library's structures; ``slots`` keeps the memory alive that ``table`` points into."""

    __slots__ = ("dtype", "isa", "slots", "table")

    def __init__(self, dtype: int, slots: Sequence[Slot]) -> None:
        self.isa, self.dtype, self.slots = settings.isa, dtype, slots
        rows = []
        for slot in slots:
            state = [pointer(array) for array in (*slot.state, None, None, None)[:3]]
            rows.append((slot.w.size, int64s(slot.steps), pointer(slot.w), pointer(slot.g), state))
        self.table = ffi.new("fastrnn_parameter[]", rows)


class CTraining:
    """The methods of :class:`fastrnn.backends.base.Backend` for loss, gradients and optimisers."""

    def softmax_cross_entropy(
        self, x: Array, targets: Array, mask: Array | None, ignore_index: int, mean: bool
    ) -> tuple[float, Array] | None:
        """Return the loss and dx, or None if a target is out of range; each row is read once for both."""
        N, V = x.shape
        how = [(settings.isa, _DTYPES[x.dtype.char], mean, N, V, ignore_index)]
        dx = empty(x.shape, x.dtype)
        rows = from_buffer(x), int64s(targets), NULL if mask is None else from_buffer("uint8_t[]", mask)
        loss = lib.fastrnn_softmax_cross_entropy(how, *rows, from_buffer(dx), take_workspace(8 * N))
        return None if loss == -1 else (loss, dx)

    def prepare_arrays(self, arrays: Sequence[Array]) -> list[Any]:
        """Return the library's list of arrays for each dtype, with the memory that it points to."""
        lists = []
        for dtype, chosen in _by_dtype(arrays):
            sizes = ffi.new("int64_t[]", [arrays[i].size for i in chosen])
            pointers = ffi.new("void *[]", [from_buffer(arrays[i]) for i in chosen])
            made = ffi.new("fastrnn_arrays *", (settings.isa, dtype, len(chosen), sizes, pointers))
            lists.append((made, sizes, pointers, arrays))
        return lists

    def squares(self, prepared: list[Any]) -> float:
        """Return the sum of the squares of all elements."""
        total = 0.0
        for made, *_ in prepared:
            total += lib.fastrnn_arrays_squares(made, take_workspace(lib.fastrnn_arrays_workspace_size(made)))
        return total

    def scale(self, prepared: list[Any], factor: float) -> None:
        """Multiply all arrays by a factor, in place."""
        for made, *_ in prepared:
            lib.fastrnn_arrays_scale(made, factor)

    def clamp(self, prepared: list[Any], bound: float) -> None:
        """Clamp all elements to -bound..bound, in place."""
        for made, *_ in prepared:
            lib.fastrnn_arrays_clamp(made, bound)

    def prepare_update(self, slots: Sequence[Slot]) -> list[PreparedUpdate]:
        """Return the library's table of parameters for each dtype."""
        groups = _by_dtype([slot.w for slot in slots])
        return [PreparedUpdate(dtype, [slots[i] for i in chosen]) for dtype, chosen in groups]

    def update(self, prepared: list[PreparedUpdate], rule: Rule) -> None:
        """Apply one step of the rule to all parameters."""
        numbers = rule.lr, rule.weight_decay, rule.momentum, rule.alpha, rule.beta1, rule.beta2, rule.eps
        for group in prepared:
            kind = group.isa, group.dtype, _RULES[rule.kind], rule.nesterov, rule.decoupled
            lib.fastrnn_optimise([(*kind, *numbers)], len(group.slots), group.table)
