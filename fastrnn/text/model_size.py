"""How large a model will be, before it is made."""

from __future__ import annotations

import math
import os
import sys

from ..backends.protocol import CellSpec
from .options import TrainOptions

BYTES = 4  # of a float32


def check_size(options: TrainOptions, V: int, copies: int = 1) -> None:
    """Raise MemoryError when so many ``copies`` of the weights are more than the machine's memory.

    Before anything is allocated: the system would rather end a process than say no.
    """
    count, here = parameter_count(options, V), machine_memory()
    needed = BYTES * count * copies
    if needed > here:
        model = f"{options.model.upper()} {options.layers} x {options.hidden} has {_short(count)} parameters"
        raise MemoryError(f"{model}, which take {_short(needed / 1e9)} GB; this machine has {_short(here / 1e9)} GB")


def parameter_count(options: TrainOptions, V: int) -> int:
    """The number of weights of a :class:`fastrnn.text.char_model.CharModel` over V tokens."""
    E, H = options.embedding, options.hidden

    def layer(input_size: int) -> int:
        return sum(math.prod(shape) for shape in CellSpec(options.model, input_size, H).shapes().values())

    return V * E + layer(E or V) + (options.layers - 1) * layer(H) + (H + 1) * V


def machine_memory() -> int:
    """Bytes; where the system does not say, more than any model takes."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def _short(number: float) -> str:
    return f"{number:,.0f}" if 100 <= number < 1e9 else f"{number:.2g}"
