"""The C library's functions of single values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..._core.arrays import Array
from .library import DTYPES, ffi, lib, pointer, settings

FUNCTIONS = {"sigmoid": lib.FASTRNN_SIGMOID, "tanh": lib.FASTRNN_TANH, "swish": lib.FASTRNN_SWISH}


class CPointwise:
    """The method of :class:`fastrnn.backends.base.Backend` for functions of single values."""

    def bind_pointwise(self, function: str, x: Array, y: Array) -> Callable[[], object]:
        """Return a call of the library with all arguments."""
        how = ffi.new("fastrnn_pointwise *", (settings.isa, DTYPES[x.dtype.name], FUNCTIONS[function], x.size))
        return partial(lib.fastrnn_apply, how, pointer(x), pointer(y))
