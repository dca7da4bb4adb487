"""Estimates of the memory of a model and its batches, checked before they are made.

Without the check the operating system may kill the process instead of refusing the memory.
"""

from __future__ import annotations

import math
import os
import sys

from ...backends.structs import CellSpec
from .options import RunOptions

BYTES = 4  # size of a float32
TRAINING_COPIES = 4  # arrays of the weights' size: weights, gradients, the optimiser's two moments


def check_model(options: RunOptions, count: int, copies: int = 1) -> None:
    """Raise MemoryError if ``copies`` arrays of ``count`` weights exceed the machine's memory."""
    model = f"{options.model.upper()} {options.layers} x {options.hidden} has {_short(count)} parameters"
    _check(BYTES * count * copies, f"{model}, which take")


def check_batch(options: RunOptions, values: int) -> None:
    """Raise MemoryError if a batch, with ``values`` float32 for each of its tokens, exceeds the machine's memory."""
    tokens = options.batch * options.seq_length
    _check(BYTES * tokens * values, f"a batch of {options.batch} x {options.seq_length} tokens takes at least")


def recurrent_count(options: RunOptions, input_size: int) -> int:
    """Return the number of weights of the recurrent layers alone."""

    def layer(size: int) -> int:
        return sum(math.prod(shape) for shape in CellSpec(options.model, size, options.hidden).shapes().values())

    return layer(input_size) + (options.layers - 1) * layer(options.hidden)


def machine_memory() -> int:
    """Return the machine's memory in bytes, or ``sys.maxsize`` if the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def _check(needed: int, what: str) -> None:
    here = machine_memory()
    if needed > here:
        raise MemoryError(f"{what} {_short(needed / 1e9)} GB; this machine has {_short(here / 1e9)} GB")


def _short(number: float) -> str:
    return f"{number:,.0f}" if 100 <= number < 1e9 else f"{number:.2g}"
