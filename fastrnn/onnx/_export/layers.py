"""Small layers as ONNX nodes: one function each, of (emitter, layer, names of the inputs, their specs, options)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import layers
from ...layers._symbolic.symbols import Nest, Spec
from .emitter import Emitter
from .recurrent import cell, recurrent, vectors

Names = tuple[Nest, ...]
Specs = tuple[Nest, ...]

ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax", "softplus": "Softplus"}


def linear(e: Emitter, layer: layers.Linear, args: Names, specs: Specs, options: Any) -> str:
    """Compute ``x W^T + b``, for any number of axes before the last."""
    y = e.node("MatMul", args[0], e.constant(layer.weight.values.T, "weight"))
    return y if layer.bias is None else e.node("Add", y, e.constant(layer.bias.values, "bias"))


def embedding(e: Emitter, layer: layers.Embedding, args: Names, specs: Specs, options: Any) -> str:
    """Look up rows of the weight; id -1 selects the last row, which is zero."""
    weight = layer.weight.values
    return e.node("Gather", e.constant(np.concatenate([weight, np.zeros_like(weight[:1])]), "weight"), args[0])


def one_hot(e: Emitter, layer: layers.OneHot, args: Names, specs: Specs, options: Any) -> str:
    """Make one-hot vectors of ids."""
    return vectors(e, args[0], specs[0], layer.num_classes, layer.dtype)


def identity(e: Emitter, layer: layers.Layer, args: Names, specs: Specs, options: Any) -> Nest:
    """Return the input, because dropout does nothing at inference."""
    return args[0]


def activation(e: Emitter, layer: layers.Activation, args: Names, specs: Specs, options: Any) -> str:
    """Apply the function; gelu_tanh consists of several nodes, because opset 17 has no Gelu."""
    x, dtype = args[0], specs[0].dtype
    if layer.function != "gelu_tanh":
        return e.node(ACTIVATIONS[layer.function], x)
    cube = e.node("Mul", e.node("Mul", x, x), x)
    inner = e.node("Add", x, e.node("Mul", cube, e.scalar(0.044715, dtype)))
    t = e.node("Tanh", e.node("Mul", inner, e.scalar((2 / np.pi) ** 0.5, dtype)))
    return e.node("Mul", e.node("Mul", x, e.scalar(0.5, dtype)), e.node("Add", t, e.scalar(1, dtype)))


def layer_norm(e: Emitter, layer: layers.LayerNorm, args: Names, specs: Specs, options: Any) -> str:
    """Normalise the last axis."""
    ones = np.ones(layer.features, layer.dtype) if layer.weight is None else layer.weight.values
    bias = [] if layer.bias is None else [e.constant(layer.bias.values, "bias")]
    return e.node("LayerNormalization", args[0], e.constant(ones, "weight"), *bias, axis=-1, epsilon=layer.eps)


def concat(e: Emitter, layer: layers.Concat, args: Names, specs: Specs, options: Any) -> str:
    """Join the inputs."""
    return e.node("Concat", *args, axis=layer.axis)


def stack(e: Emitter, layer: layers.Stack, args: Names, specs: Specs, options: Any) -> str:
    """Join the inputs along a new axis."""
    axis = e.ints(layer.axis)
    return e.node("Concat", *(e.node("Unsqueeze", x, axis) for x in args), axis=layer.axis)


def combined(op: str) -> Callable[..., str]:
    """Return the function for layers that combine inputs element by element."""

    def combine(e: Emitter, layer: layers.Layer, args: Names, specs: Specs, options: Any) -> str:
        y = args[0]
        for x in args[1:]:
            y = e.node(op, y, x)
        if isinstance(layer, layers.Average):
            y = e.node("Div", y, e.scalar(len(args), specs[0].dtype))
        return str(y)

    return combine


def repeat_vector(e: Emitter, layer: layers.RepeatVector, args: Names, specs: Specs, options: Any) -> str:
    """Repeat x along a new first axis, n times or as often as ``like`` has steps."""
    n = e.ints(layer.n) if layer.n is not None else e.node("Shape", args[1], start=0, end=1)
    return e.node("Expand", e.node("Unsqueeze", args[0], e.ints(0)), e.node("Concat", n, e.node("Shape", args[0]), axis=0))


def reshape(e: Emitter, layer: layers.Reshape, args: Names, specs: Specs, options: Any) -> str:
    """Give the features another shape. Axes of open size are taken from x."""
    shape = layer.infer(specs[0]).shape
    kept = len(shape) - len(layer.shape)
    return e.node("Reshape", args[0], e.ints(*[0] * kept, *shape[kept:]))


def slice_of(e: Emitter, layer: layers.Slice, args: Names, specs: Specs, options: Any) -> str:
    """Slice, then gather at integer indices, from the last axis to the first."""
    if layer.over_time and e.lengths:
        raise ValueError("a slice of time cannot be exported with lengths")
    x, items = args[0], layer._by_axis(len(specs[0].shape))
    end, found = np.iinfo(np.int64).max, []
    for axis, item in enumerate(items):
        if isinstance(item, slice) and item != slice(None):
            step = item.step or 1
            start = (0 if step > 0 else end) if item.start is None else item.start
            stop = (end if step > 0 else -end) if item.stop is None else item.stop
            found.append((start, stop, axis, step))
    if found:
        x = e.node("Slice", x, *(e.ints(*values) for values in zip(*found, strict=True)))
    for axis, item in reversed(list(enumerate(items))):
        if isinstance(item, int):
            x = e.node("Gather", x, e.scalar(item, "int64"), axis=axis)
    return str(x)


def pool(e: Emitter, layer: layers.Layer, args: Names, specs: Specs, options: Any) -> str:
    """Reduce ``[T, B, ...]`` over time; with lengths, over each sequence's own steps."""
    x, spec = args[0], specs[0]
    lengths = e.lengths.get(spec.shape[0])
    if lengths is None:
        if isinstance(layer, layers.Last):
            return e.node("Gather", x, e.scalar(-1, "int64"), axis=0)
        op = "ReduceMean" if isinstance(layer, layers.MeanPool) else "ReduceMax"
        return e.node(op, x, axes=[0], keepdims=0)
    zero = e.scalar(0, spec.dtype)
    if isinstance(layer, layers.Last):
        last = e.node("Sub", e.node("Cast", lengths, to=7), e.scalar(1, "int64"))
        chosen = e.node("Where", over_features(e, e.node("Equal", steps(e, x), last), spec), x, zero)
        return e.node("ReduceSum", chosen, e.ints(0), keepdims=0)
    valid = mask(e, x, lengths, spec)
    count = over_features(e, e.node("Cast", lengths, to=_type(spec.dtype)), Spec(spec.shape[1:], spec.dtype), first=1)
    if isinstance(layer, layers.MeanPool):
        total = e.node("ReduceSum", e.node("Where", valid, x, zero), e.ints(0), keepdims=0)
        return e.node("Div", total, e.node("Max", count, e.scalar(1, spec.dtype)))
    largest = e.node("ReduceMax", e.node("Where", valid, x, e.scalar(-np.inf, spec.dtype)), axes=[0], keepdims=0)
    return e.node("Where", e.node("Greater", count, zero), largest, zero)


def steps(e: Emitter, x: str) -> str:
    """Return the numbers of the steps of x, int64 ``[T, 1]``."""
    T = e.node("Squeeze", e.node("Shape", x, start=0, end=1), e.ints(0))
    return e.node("Unsqueeze", e.node("Range", e.scalar(0, "int64"), T, e.scalar(1, "int64")), e.ints(1))


def over_features(e: Emitter, x: str, spec: Spec, first: int = 2) -> str:
    """Return a value over the first axes of a spec so that it broadcasts over the others."""
    more = range(first, len(spec.shape))
    return e.node("Unsqueeze", x, e.ints(*more)) if more else x


def mask(e: Emitter, x: str, lengths: str, spec: Spec) -> str:
    """Return which places of ``x [T, B, ...]`` lie before each sequence's length, bool ``[T, B, 1...]``."""
    return over_features(e, e.node("Less", steps(e, x), e.node("Cast", lengths, to=7)), spec)


def _type(dtype: str) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


EXPORTERS: dict[type[layers.Layer], Callable[..., Nest]] = {
    **dict.fromkeys((layers.RNN, layers.GRU, layers.LSTM), recurrent),
    **dict.fromkeys((layers.RNNCell, layers.GRUCell, layers.LSTMCell), cell),
    **dict.fromkeys((layers.Dropout, layers.VariationalDropout, layers.TokenDropout), identity),
    **dict.fromkeys((layers.Last, layers.MeanPool, layers.MaxPool), pool),
    **dict.fromkeys((layers.Add, layers.Average), combined("Add")),
    layers.Multiply: combined("Mul"),
    layers.Linear: linear,
    layers.Embedding: embedding,
    layers.OneHot: one_hot,
    layers.Activation: activation,
    layers.LayerNorm: layer_norm,
    layers.Concat: concat,
    layers.Stack: stack,
    layers.RepeatVector: repeat_vector,
    layers.Reshape: reshape,
    layers.Slice: slice_of,
}
