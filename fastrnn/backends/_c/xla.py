"""The library's handlers of XLA's foreign function interface, and the numbers that tell them which layer to run."""

from __future__ import annotations

import numpy as np

from ..._core.arrays import Array
from .library import ffi, lib
from .stack import ROWS, Kernel


def handlers() -> dict[str, int]:
    """Implement :meth:`Backend.xla_handlers`."""
    names = "fastrnn_xla_forward", "fastrnn_xla_backward"
    return {name: int(ffi.cast("intptr_t", ffi.addressof(lib, name))) for name in names}


def numbers(kernel: Kernel, rows: str, bias: bool, lengths: bool, need_dx: bool) -> Array:
    """Implement :meth:`Backend.xla_numbers`; ``csrc/xla.c`` reads them in this order."""
    s = kernel.stack
    layer = s.isa, s.dtype, s.cell, s.I, s.H, s.products
    return np.array([*layer, ROWS[rows], kernel.spec.reverse, bias, lengths, need_dx], np.int64)
