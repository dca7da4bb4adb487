"""Memory of the library, for callers that keep tapes and weights in their own arrays, such as PyTorch's tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from .library import ffi, lib
from .stack import STAMP, Kernel


@lru_cache
def tape_size(kernel: Kernel) -> tuple[int, int, int, int]:
    """Implement :meth:`Backend.tape_size`: the tape's arrays are linear in T, B and N, and each fills whole lines.

    The coefficients are differences between tape sizes at which every array of N rows fills whole lines. The batches have
    lengths, because rows that must be reordered need the most memory.
    """
    UNIT, LINE, ARRAYS = 64, 64, 10  # ARRAYS: a part has at most this many, each wasting less than a line

    def size(T: int, B: int) -> int:
        lengths = ffi.new("int64_t[]", [T] * B)
        return int(lib.fastrnn_tape_size(kernel.stack, [{"T": T, "B": B, "lengths": lengths}], False))

    s, wider, longer, both = (size(T * UNIT, B * UNIT) for T, B in ((1, 1), (1, 2), (2, 1), (2, 2)))
    per_row = (both - wider - longer + s) // UNIT**2
    per_step = (longer - s) // UNIT - per_row * UNIT
    per_sequence = (wider - s) // UNIT - per_row * UNIT
    fixed = s - UNIT * (per_step + per_sequence) - UNIT**2 * per_row
    return fixed + LINE * ARRAYS * kernel.spec.parts + STAMP, per_step, per_sequence, per_row


def hash_arrays(kernel: Kernel, addresses: Sequence[int], counts: Sequence[int]) -> Callable[[int, int], int]:
    """Implement :meth:`Backend.hash_arrays`."""
    sizes = ffi.new("int64_t[]", list(counts))
    arrays = ffi.new("void *[]", [ffi.cast("void *", address) for address in addresses])
    fields = (kernel.stack.isa, kernel.stack.dtype, len(addresses), sizes, arrays)
    arrays_list, hash_of = ffi.new("fastrnn_arrays *", fields), lib.fastrnn_arrays_hash

    def hash_part(phase: int, phases: int, alive: object = (sizes, arrays)) -> Any:
        return hash_of(arrays_list, phase, phases)

    return hash_part
