"""A Keras model of layers that fastrnn has, as a :class:`fastrnn.Model`."""

from __future__ import annotations

import os
from typing import Any

from .. import graph
from ._convert import LAYERS, convert, obstacle
from ._file import KerasModel, Value, read

_LETTERS = ("TSUVWXYZ", "TTTTTTTT")  # time axes of their own for the inputs, then one for all


def load(path: str | os.PathLike[str]) -> graph.Model:
    """Load a ``.keras`` file as a model with the same outputs.

    Parameters
    ----------
    path
        A Sequential or functional model of LSTM, GRU, SimpleRNN, Bidirectional, Embedding, Masking, Dense,
        TimeDistributed(Dense), LayerNormalization, Dropout, SpatialDropout1D, Activation, RepeatVector,
        GlobalAveragePooling1D, GlobalMaxPooling1D, Concatenate, Add, Average and Multiply.

    Returns
    -------
    fastrnn.Model
        Its sequences are time-major, ``[T, B, ...]``, and ``lengths`` takes the place of masks. Past its length a sequence's
        outputs are zero.

    Raises
    ------
    OSError
        if the file cannot be read
    ImportError
        without h5py
    ValueError
        for a file of another format, and for a model with other layers or options; the message names all of them
    """
    model = read(path)
    found = [text for layer in _reached(model) if (text := obstacle(layer))]
    if found:
        raise ValueError(f"{os.fspath(path)} must consist of layers that fastrnn has, got {', '.join(found)}")
    try:
        return _built(model, _LETTERS[0])
    except ValueError:
        if len(model.inputs) == 1:
            raise
        return _built(model, _LETTERS[1])


def _reached(model: KerasModel) -> list[Any]:
    """Return the layers that the outputs need; a mask's operators are not among them."""
    found: dict[str, None] = {}
    waiting = list(model.outputs)
    while waiting:
        value = waiting.pop()
        if value.layer not in found:
            found[value.layer] = None
            for args, kwargs in model.layers[value.layer].calls:
                waiting += _values_in([args, {**kwargs, "mask": None}])
    return [layer for name, layer in model.layers.items() if name in found]


def _values_in(nest: Any) -> list[Value]:
    if isinstance(nest, Value):
        return [nest]
    items = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, list) else ()
    return [value for item in items for value in _values_in(item)]


def _built(model: KerasModel, letters: str) -> graph.Model:
    embedded = {v for layer in model.layers.values() if layer.kind == "Embedding" for v in _values_in([*layer.calls[0]])}
    floats = {array.dtype.name for layer in _reached(model) for array in layer.arrays.values() if array.dtype.kind == "f"}
    dtype = "float64" if floats == {"float64"} else "float32"  # Keras' layers cast an input to their own dtype
    symbols: dict[tuple[str, int], list[Any]] = {}
    inputs = []
    for value, letter in zip(model.inputs, letters, strict=False):
        config = model.layers[value.layer].config
        inputs.append(_input(value.layer, config["batch_shape"], "int64" if value in embedded else dtype, letter))
        symbols[value.layer, value.call] = inputs[-1:]
    ours = {layer.name: convert(layer) for layer in _reached(model) if layer.kind != "InputLayer"}

    def symbol(value: Value) -> Any:
        key = value.layer, value.call
        if key not in symbols:
            layer = model.layers[value.layer]
            args, kwargs = layer.calls[value.call]
            x, *states = map(symbol, _values_in([args, kwargs.get("initial_state")]))
            own = ours[value.layer]
            symbols[key] = LAYERS[layer.kind].call(layer, own, [x, *states])
        return symbols[key][value.output]

    outputs = [symbol(value) for value in model.outputs]
    return graph.Model(inputs[0] if len(inputs) == 1 else tuple(inputs), outputs[0] if len(outputs) == 1 else tuple(outputs))


def _input(name: str, shape: list[Any], dtype: str, letter: str) -> Any:
    axes = (letter, "B", *shape[2:]) if dtype == "int64" or len(shape) > 2 else ("B", *shape[1:])
    return graph.Input(axes, dtype, name if name.isidentifier() else None)
