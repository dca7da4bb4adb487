"""Matrix products, on the backend's linear layer where the second factor is constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from .._build import FLOATS, Build
from .._graph import Node
from .table import operator


def linear(b: Build, node: Node, x: Array, weight: Any, out_features: int) -> Array:
    """Return ``x W^T + bias`` for rows ``x [N,I]``; ``weight()`` returns W ``[O,I]`` and the bias or None, once."""
    out = b.new((len(x), out_features), x.dtype)
    linear_into(b, node, b.contiguous(x), weight, out)
    return out


def linear_into(b: Build, node: Node, x: Array, weight: Any, out: Array) -> None:
    """Add the step of :func:`linear` for C-contiguous rows x and ``out [N,O]``."""

    def make() -> Any:
        W, bias = weight()
        return b.engine.prepare_linear(np.ascontiguousarray(W), None if bias is None else np.ascontiguousarray(bias))

    if x.size:
        b.emit(b.engine.bind_linear(b.prepared(node, make), x, out))


@operator("MatMul")
def matmul(b: Build, node: Node, x: Array, y: Array, bias: Array | None = None) -> Array:
    """Compute ``x y``, and add the bias that a rewrite rule has joined to it."""
    if y.ndim == 2 and x.ndim >= 2 and b.is_static(y) and not b.is_static(x) and x.dtype in FLOATS and y.size:
        rows = b.contiguous(x).reshape(-1, x.shape[-1])
        if rows.shape[1] != y.shape[0]:
            raise ValueError(f"factors must fit, got shapes {x.shape} and {y.shape}")
        return linear(b, node, rows, lambda: (y.T, bias), y.shape[1]).reshape(*x.shape[:-1], y.shape[1])
    shape = np.matmul(np.broadcast_to(np.int8(0), x.shape), np.broadcast_to(np.int8(0), y.shape)).shape
    out = b.new(shape, x.dtype)
    b.emit(np.matmul, x, y, out) if shape else b.emit(lambda: np.copyto(out, np.matmul(x, y)))
    if bias is not None:
        b.emit(np.add, out, bias, out)
    return out


@operator("Gemm")
def gemm(b: Build, node: Node, x: Array, y: Array, z: Array | None = None) -> Array:
    """Compute ``alpha x y + beta z``, with x and y transposed on demand."""
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    constant = b.is_static(y) and b.is_static(z) and not b.is_static(x) and x.dtype in FLOATS
    x = x.T if node.attributes.get("transA") else x
    y = y.T if node.attributes.get("transB") else y
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[0]:
        raise ValueError(f"A and B must be [M, K] and [K, N] after transA and transB, got shapes {x.shape} and {y.shape}")
    of = x.dtype.type
    fits = z is None or z.shape in ((y.shape[1],), (1, y.shape[1]), (1,), ())
    if fits and constant:

        def weight() -> tuple[Array, Array | None]:
            bias = None if z is None else np.ascontiguousarray(np.broadcast_to(np.ravel(of(beta) * z), (y.shape[1],)))
            return of(alpha) * y.T, bias

        return linear(b, node, x, weight, y.shape[1])

    def product(x: Array, y: Array) -> Array:
        result = np.asarray(of(alpha) * (x @ y))
        return result if z is None else result + of(beta) * z

    return b.compute(product, x, y)


@operator("Einsum")
def einsum(b: Build, node: Node, *inputs: Array) -> Array:
    return b.compute(lambda *inputs: np.einsum(node.attributes["equation"], *inputs), *inputs)
