"""Functions of single values: activations and elementary functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..._core.arrays import Array
from .._build import FLOATS, Build
from .._cells.activations import FUNCTIONS
from .._graph import Node
from .table import operator

UFUNCS = {
    "Abs": np.abs, "Neg": np.negative, "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log,
    "Reciprocal": np.reciprocal, "Floor": np.floor, "Ceil": np.ceil, "Round": np.rint, "Sign": np.sign,
    "Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh,
}  # fmt: skip


@operator(*UFUNCS)
def elementary(b: Build, node: Node, x: Array) -> Array:
    out = b.into(x)
    b.emit(UFUNCS[node.op], x, out)
    return out


@operator("Relu")
def relu(b: Build, node: Node, x: Array) -> Array:
    out = b.into(x)
    b.emit(np.maximum, x, x.dtype.type(0), out=out)
    return out


@operator("Sigmoid", "Tanh")
def sigmoid(b: Build, node: Node, x: Array) -> Array:
    if x.dtype not in FLOATS:
        return b.compute(lambda x: np.asarray(FUNCTIONS[node.op.lower()](x, 0, 0), x.dtype), x)
    return on_kernels(b, node.op.lower(), x)


def on_kernels(b: Build, function: str, x: Array) -> Array:
    """Return a function of x's values by the backend, if the values lie in memory without gaps."""
    out = b.into(x)
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    source, target = x.transpose(order), out.transpose(order)
    if not source.flags.c_contiguous:
        source = b.contiguous(x)
        target = out = b.new(x.shape, x.dtype)
    if x.size:
        b.emit(b.engine.bind_pointwise(function, source, target))
    return out


# Functions that recurrent operators have too, with the defaults of alpha and beta.
SHARED = {
    "LeakyRelu": (0.01, 0.0), "Elu": (1.0, 0.0), "HardSigmoid": (0.2, 0.5), "ThresholdedRelu": (1.0, 0.0),
    "Softsign": (0.0, 0.0), "Softplus": (0.0, 0.0),
}  # fmt: skip


@operator(*SHARED)
def shared(b: Build, node: Node, x: Array) -> Array:
    function, (alpha, beta) = FUNCTIONS[node.op.lower()], SHARED[node.op]
    of = x.dtype.type
    alpha, beta = of(node.attributes.get("alpha", alpha)), of(node.attributes.get("beta", beta))
    return b.compute(lambda x: function(x, alpha, beta).astype(x.dtype), x)


def _simple(function: Callable[[Array], Array]) -> Callable[..., Array]:
    return lambda b, node, x: b.compute(lambda x: np.asarray(function(x), x.dtype), x)


def erf(x: Array) -> Array:
    """Return the error function, correctly rounded from float64."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float64)


operator("Erf")(_simple(erf))
operator("HardSwish")(_simple(lambda x: x * np.clip(x / x.dtype.type(6) + x.dtype.type(0.5), 0, 1)))
operator("Mish")(_simple(lambda x: x * np.tanh(np.logaddexp(x, 0))))


@operator("Swish")
def swish(b: Build, node: Node, x: Array) -> Array:
    alpha = x.dtype.type(node.attributes.get("alpha", 1.0))
    if alpha == 1 and x.dtype in FLOATS:
        return on_kernels(b, "swish", x)
    return b.compute(lambda x: x / (1 + np.exp(-alpha * x)), x)


@operator("Selu")
def selu(b: Build, node: Node, x: Array) -> Array:
    alpha = x.dtype.type(node.attributes.get("alpha", 1.67326319217681884765625))
    gamma = x.dtype.type(node.attributes.get("gamma", 1.05070102214813232421875))
    return b.compute(lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), x)


@operator("Gelu")
def gelu(b: Build, node: Node, x: Array) -> Array:
    if node.attributes.get("approximate", "none") == "tanh":
        scale = x.dtype.type(math.sqrt(2 / math.pi))
        return b.compute(lambda x: x / 2 * (1 + np.tanh(scale * (x + x.dtype.type(0.044715) * x**3))), x)
    return b.compute(lambda x: (x / 2 * (1 + erf(x / math.sqrt(2)))).astype(x.dtype), x)


@operator("PRelu")
def prelu(b: Build, node: Node, x: Array, slope: Array) -> Array:
    return b.compute(lambda x, slope: np.where(x < 0, slope * x, x), x, slope)


@operator("Clip")
def clip(b: Build, node: Node, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """Clip x; the bounds are inputs, or attributes before opset 11."""
    for name, bound in (("min", low), ("max", high)):
        ufunc = np.maximum if name == "min" else np.minimum
        limit = bound if bound is not None else node.attributes.get(name)
        if limit is not None:
            out = b.into(x)
            b.emit(ufunc, x, limit if isinstance(limit, np.ndarray) else x.dtype.type(limit), out=out)
            x = out
    return x


def softmax_rows(x: Array, axis: int, out: Array) -> None:
    """Overwrite ``out`` with the softmax of x along an axis."""
    np.subtract(x, x.max(axis=axis, keepdims=True, initial=-np.inf), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=axis, keepdims=True)


@operator("Softmax", "LogSoftmax")
def softmax(b: Build, node: Node, x: Array) -> Array:
    """Compute the softmax. Before opset 13 all axes from ``axis`` on count as one, and the default is 1."""
    axis = node.attributes.get("axis", -1 if node.opset >= 13 else 1)
    out = b.new(x.shape, x.dtype)
    rows: tuple[Array, ...] = x, out
    if node.opset < 13:
        source = b.contiguous(x)
        rows = tuple(
            a.reshape(math.prod(x.shape[: axis % x.ndim]), math.prod(x.shape[axis % x.ndim :])) for a in (source, out)
        )
        axis = 1
    b.emit(softmax_rows, rows[0], axis, rows[1])
    if node.op == "LogSoftmax":
        source = rows[0]

        def log_softmax() -> None:
            shifted = source - source.max(axis=axis, keepdims=True, initial=-np.inf)
            rows[1][...] = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))

        b.emit(log_softmax)
    return out
