"""The C library's linear layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from ..._core.arrays import Array
from ..._core.memory import empty
from .library import DTYPES, aligned, ffi, from_buffer, lib, pointer, settings, take_workspace

MOST_CALLS = 256  # sizes that are cached


class PreparedLinear:
    """A linear layer with packed weights."""

    __slots__ = ("out_features", "packed", "sizes")

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self.out_features, in_features = weight.shape
        self.sizes = (settings.isa, DTYPES[weight.dtype.name], in_features, self.out_features)
        self.packed = from_buffer(aligned(lib.fastrnn_linear_packed_size([self.sizes], True)))
        lib.fastrnn_linear_pack([self.sizes], pointer(weight), pointer(bias), True, self.packed)

    def call(self, N: int, backward: bool) -> tuple[Any, Any]:
        """Return the layer's structure for the current number of threads, and a workspace for N rows."""
        linear, size = linear_call(self.sizes, lib.fastrnn_get_num_threads(), N, backward)
        return linear, take_workspace(size)


class CLinear:
    """The methods of :class:`fastrnn.backends.base.Backend` for a linear layer."""

    def prepare_linear(self, weight: Array, bias: Array | None) -> PreparedLinear:
        """Pack the weights."""
        return PreparedLinear(weight, bias)

    def linear_forward(self, prepared: PreparedLinear, x: Array) -> Array:
        """Return ``y [N, O]``."""
        N = len(x)
        linear, workspace = prepared.call(N, False)
        y = empty((N, prepared.out_features), x.dtype)
        lib.fastrnn_linear_forward(linear, prepared.packed, N, pointer(x), pointer(y), workspace)
        return y

    def bind_linear(self, prepared: PreparedLinear, x: Array, y: Array) -> Callable[[], object]:
        """Return a call of the library with all arguments and a workspace of its own."""
        linear, size = linear_call(prepared.sizes, lib.fastrnn_get_num_threads(), len(x), False)
        workspace = from_buffer(aligned(max(size, 1)))
        arguments = linear, prepared.packed, len(x), pointer(x), pointer(y), workspace
        return partial(lib.fastrnn_linear_forward, *arguments)

    def linear_backward(
        self, prepared: PreparedLinear, x: Array, dy: Array, dW: Array, db: Array | None, *, need_dx: bool = True
    ) -> Array | None:
        """Return dx, or None without ``need_dx``; adds into dW and db."""
        N = len(x)
        linear, workspace = prepared.call(N, True)
        dx = empty(x.shape, x.dtype) if need_dx else None
        arrays = [pointer(a) for a in (x, dy, dx, dW, db)]
        lib.fastrnn_linear_backward(linear, prepared.packed, N, *arrays, workspace)
        return dx


@lru_cache(MOST_CALLS)
def linear_call(sizes: tuple[int, int, int, int], threads: int, N: int, backward: bool) -> tuple[Any, int]:
    """Return the structure of a linear layer (isa, dtype, I, O) for ``threads``, and the workspace size for N rows."""
    linear = ffi.new("fastrnn_linear *", (*sizes, threads))
    return linear, lib.fastrnn_linear_workspace_size(linear, N, backward)
