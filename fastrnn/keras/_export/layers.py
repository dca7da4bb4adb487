"""Small layers as Keras layers: one function each, of (builder, layer, values of the inputs, their specs, options)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ... import layers
from ...layers._symbolic.symbols import Nest, Spec
from .builder import Builder, Specs, Value, Values, axis_in_keras, order_of, whole
from .ids import embedding, one_hot
from .recurrent import recurrent

ALL = slice(None)
Exporter = Callable[..., Nest]


def linear(b: Builder, layer: layers.Linear, args: Values, specs: Specs, options: Any) -> Any:
    """``x W^T + b`` for any number of axes before the last."""

    def make() -> Any:
        has_bias = layer.bias is not None
        dense = keras.layers.Dense(layer.out_features, use_bias=has_bias, dtype=layer.dtype, name=b.name_of(layer))
        dense.build((None, layer.in_features))
        dense.set_weights([layer.weight.values.T, *([] if layer.bias is None else [layer.bias.values])])
        return dense

    return b.once(layer, make)(whole(args[0]))


def dropout(b: Builder, layer: layers.Dropout, args: Values, specs: Specs, options: Any) -> Any:
    """Dropout."""
    return b.once(layer, lambda: keras.layers.Dropout(layer.p, name=b.name_of(layer)))(whole(args[0]))


def variational_dropout(b: Builder, layer: layers.VariationalDropout, args: Values, specs: Specs, options: Any) -> Any:
    """Dropout with one mask for all steps."""
    if len(specs[0].shape) != 3:
        raise ValueError(f"Keras' SpatialDropout1D takes [B, T, F], got {specs[0]}")
    return b.once(layer, lambda: keras.layers.SpatialDropout1D(layer.p, name=b.name_of(layer)))(whole(args[0]))


def activation(b: Builder, layer: layers.Activation, args: Values, specs: Specs, options: Any) -> Any:
    """Apply the function; Keras names that of gelu_tanh only as an operator."""
    if layer.function == "gelu_tanh":
        b.require_no_mask(specs[0])
        return ops.gelu(whole(args[0]), approximate=True)
    return b.once(layer, lambda: keras.layers.Activation(layer.function, name=b.name_of(layer)))(whole(args[0]))


def layer_norm(b: Builder, layer: layers.LayerNorm, args: Values, specs: Specs, options: Any) -> Any:
    """Normalise the last axis."""

    def make() -> Any:
        given = [parameter for parameter in (layer.weight, layer.bias) if parameter is not None]
        norm = keras.layers.LayerNormalization(
            epsilon=layer.eps,
            scale=layer.weight is not None,
            center=layer.bias is not None,
            dtype=layer.dtype,
            name=b.name_of(layer),
        )
        norm.build((None, layer.features))
        norm.set_weights([parameter.values for parameter in given])
        return norm

    return b.once(layer, make)(whole(args[0]))


def concat(b: Builder, layer: layers.Concat, args: Values, specs: Specs, options: Any) -> Value:
    """Join the inputs; along the first axis of states, lists of them."""
    axis = layer.axis % len(specs[0].shape)
    if axis == 0 and all(isinstance(arg, list) for arg in args):
        return [state for arg in args for state in arg]
    is_last = axis == len(specs[0].shape) - 1
    place = -1 if is_last else axis_in_keras(axis, specs[0])
    return _combined(keras.layers.Concatenate(axis=place, name=b.name_of(layer)), args)


def combined(kind: str) -> Exporter:
    """Return the function for layers that combine inputs element by element."""

    def combine(b: Builder, layer: layers.Layer, args: Values, specs: Specs, options: Any) -> Any:
        return _combined(getattr(keras.layers, kind)(name=b.name_of(layer)), args)

    return combine


def _combined(join: Any, args: Values) -> Any:
    values = [whole(arg) for arg in args]
    return join(values) if len(values) > 1 else values[0]


def stack(b: Builder, layer: layers.Stack, args: Values, specs: Specs, options: Any) -> Value:
    """Join the inputs along a new axis."""
    y = layer.infer(*specs)
    b.require_no_mask(specs[0])
    axis = layer.axis % len(y.shape)
    if axis == 0 and len(y.shape) == 3:
        return list(args)
    return ops.stack([whole(arg) for arg in args], axis=axis_in_keras(axis, y))


def repeat_vector(b: Builder, layer: layers.RepeatVector, args: Values, specs: Specs, options: Any) -> Any:
    """Repeat x n times."""
    if layer.n is None or len(specs[0].shape) != 2:
        raise ValueError("Keras' RepeatVector takes a number of steps and x [B, F]")
    return b.once(layer, lambda: keras.layers.RepeatVector(layer.n, name=b.name_of(layer)))(whole(args[0]))


def reshape(b: Builder, layer: layers.Reshape, args: Values, specs: Specs, options: Any) -> Any:
    """Give the features another shape."""
    b.require_no_mask(specs[0])
    y = layer.infer(specs[0])
    sizes = [-1 if isinstance(y.shape[axis], str) else y.shape[axis] for axis in order_of(y)[1:]]
    if sizes.count(-1) > 1:
        raise ValueError(f"Keras' Reshape takes at most one axis of open size, got {y}")
    return keras.layers.Reshape(sizes, name=b.name_of(layer))(whole(args[0]))


def slice_of(b: Builder, layer: layers.Slice, args: Values, specs: Specs, options: Any) -> Value:
    """Slice; an index for the first axis of states selects from their list."""
    spec, value = specs[0], args[0]
    b.require_no_mask(spec)
    items = layer._by_axis(len(spec.shape))
    if isinstance(value, list) and all(item == ALL for item in items[1:]):
        return value[items[0]]
    return whole(value)[tuple(items[axis] for axis in order_of(spec))]


def last(b: Builder, layer: layers.Last, args: Values, specs: Specs, options: Any) -> Any:
    """Last step."""
    b.require_no_mask(specs[0])
    return whole(args[0])[:, -1]


def mean_pool(b: Builder, layer: layers.MeanPool, args: Values, specs: Specs, options: Any) -> Any:
    """Mean over time, which heeds Keras' mask."""
    return _pool(b, keras.layers.GlobalAveragePooling1D, layer, args, specs[0])


def max_pool(b: Builder, layer: layers.MaxPool, args: Values, specs: Specs, options: Any) -> Any:
    """Largest value over time."""
    b.require_no_mask(specs[0])
    return _pool(b, keras.layers.GlobalMaxPooling1D, layer, args, specs[0])


def _pool(b: Builder, kind: Any, layer: layers.Layer, args: Values, spec: Spec) -> Any:
    if len(spec.shape) != 3:
        raise ValueError(f"Keras' {kind.__name__} takes [B, T, F], got {spec}")
    return b.once(layer, lambda: kind(name=b.name_of(layer)))(whole(args[0]))


EXPORTERS: dict[type[layers.Layer], Exporter] = {
    **dict.fromkeys((layers.RNN, layers.GRU, layers.LSTM), recurrent),
    layers.Linear: linear,
    layers.Embedding: embedding,
    layers.OneHot: one_hot,
    layers.Dropout: dropout,
    layers.VariationalDropout: variational_dropout,
    layers.Activation: activation,
    layers.LayerNorm: layer_norm,
    layers.Concat: concat,
    layers.Add: combined("Add"),
    layers.Average: combined("Average"),
    layers.Multiply: combined("Multiply"),
    layers.Stack: stack,
    layers.RepeatVector: repeat_vector,
    layers.Reshape: reshape,
    layers.Slice: slice_of,
    layers.Last: last,
    layers.MeanPool: mean_pool,
    layers.MaxPool: max_pool,
}
