"""How large a model will be, before it is made."""

from __future__ import annotations

import math
import os
import sys

from ..backends.protocol import CellSpec
from ..training.options import RunOptions

BYTES = 4  # of a float32


def check_size(options: RunOptions, V: int, copies: int = 1) -> None:
    """Raise MemoryError when so many ``copies`` of the weights are more than the machine's memory.

    Before anything is allocated: the system would rather end a process than say no.
    """
    check_count(options, parameter_count(options, V), copies)


def check_count(options: RunOptions, count: int, copies: int = 1) -> None:
    """As :func:`check_size`, for a model of ``count`` weights."""
    needed, here = BYTES * count * copies, machine_memory()
    if needed > here:
        model = f"{options.model.upper()} {options.layers} x {options.hidden} has {_short(count)} parameters"
        raise MemoryError(f"{model}, which take {_short(needed / 1e9)} GB; this machine has {_short(here / 1e9)} GB")


def parameter_count(options: RunOptions, V: int) -> int:
    """The number of weights of a :class:`fastrnn.text.char_model.CharModel` over V tokens."""
    E, H = options.embedding, options.hidden
    return V * E + recurrent_count(options, E or V) + (H + 1) * V


def recurrent_count(options: RunOptions, input_size: int) -> int:
    """The number of weights of the recurrent layers alone."""

    def layer(size: int) -> int:
        return sum(math.prod(shape) for shape in CellSpec(options.model, size, options.hidden).shapes().values())

    return layer(input_size) + (options.layers - 1) * layer(options.hidden)


def machine_memory() -> int:
    """Bytes; where the system does not say, more than any model takes."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def _short(number: float) -> str:
    return f"{number:,.0f}" if 100 <= number < 1e9 else f"{number:.2g}"
