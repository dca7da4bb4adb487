"""The C library's linear layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from ..._core.arrays import Array
from ..._core.memory import empty
from .library import DTYPES, aligned, ffi, from_buffer, lib, pointer, settings, take_workspace
from .precision import PRODUCTS, choose_linear, precision_for_rows

MOST_CALLS = 256  # sizes that are cached


class PreparedLinear:
    """A linear layer with packed weights: of float32, of bfloat16, or of both for different numbers of rows."""

    __slots__ = ("_arrays", "_packed", "_precision", "out_features", "sizes")

    def __init__(self, weight: Array, bias: Array | None, precision: str) -> None:
        self.out_features, in_features = weight.shape
        self.sizes = (settings.isa, DTYPES[weight.dtype.name], in_features, self.out_features)
        self._arrays = weight, bias
        self._packed: dict[int, Any] = {}
        self._precision = choose_linear(precision, weight, settings.isa)
        self._pack(PRODUCTS[self._precision])

    def call(self, N: int, backward: bool) -> tuple[Any, int, Any]:
        """Return the layer's structure for N rows and the current threads, its workspace's size, and the packed weights."""
        products = PRODUCTS[precision_for_rows(self._precision, self.sizes[0], N)]
        packed = self._packed.get(products) or self._pack(products)
        return *linear_call(self.sizes, products, lib.fastrnn_get_num_threads(), N, backward), packed

    def _pack(self, products: int) -> Any:
        linear, _ = linear_call(self.sizes, products, 0, 0, True)
        packed = from_buffer(aligned(lib.fastrnn_linear_packed_size(linear, True)))
        lib.fastrnn_linear_pack(linear, *map(pointer, self._arrays), True, packed)
        self._packed[products] = packed  # once they are packed, because another thread reads them from here
        return packed


class CLinear:
    """The methods of :class:`fastrnn.backends.base.Backend` for a linear layer."""

    def prepare_linear(self, weight: Array, bias: Array | None, precision: str = "highest") -> PreparedLinear:
        """Pack the weights for products in this precision."""
        return PreparedLinear(weight, bias, precision)

    def linear_forward(self, prepared: PreparedLinear, x: Array) -> Array:
        """Return ``y [N, O]``."""
        N = len(x)
        linear, size, packed = prepared.call(N, False)
        y = empty((N, prepared.out_features), x.dtype)
        lib.fastrnn_linear_forward(linear, packed, N, pointer(x), pointer(y), take_workspace(size))
        return y

    def bind_linear(self, prepared: PreparedLinear, x: Array, y: Array) -> Callable[[], object]:
        """Return a call of the library with all arguments and a workspace of its own."""
        linear, size, packed = prepared.call(len(x), False)
        arguments = linear, packed, len(x), pointer(x), pointer(y), from_buffer(aligned(max(size, 1)))
        return partial(lib.fastrnn_linear_forward, *arguments)

    def linear_backward(
        self, prepared: PreparedLinear, x: Array, dy: Array, dW: Array, db: Array | None, *, need_dx: bool = True
    ) -> Array | None:
        """Return dx, or None without ``need_dx``; adds into dW and db."""
        N = len(x)
        linear, size, packed = prepared.call(N, True)
        dx = empty(x.shape, x.dtype) if need_dx else None
        arrays = [pointer(a) for a in (x, dy, dx, dW, db)]
        lib.fastrnn_linear_backward(linear, packed, N, *arrays, take_workspace(size))
        return dx


@lru_cache(MOST_CALLS)
def linear_call(sizes: tuple[int, ...], products: int, threads: int, N: int, backward: bool) -> tuple[Any, int]:
    """Return the structure of a linear layer (isa, dtype, I, O) for ``threads``, and the workspace size for N rows."""
    linear = ffi.new("fastrnn_linear *", (*sizes, products, threads))
    return linear, lib.fastrnn_linear_workspace_size(linear, N, backward)
