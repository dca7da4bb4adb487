"""Reading a ``.keras`` file: a zip with the architecture as JSON and the weights as HDF5."""

from __future__ import annotations

import io
import os
import re
import zipfile
from typing import Any, NamedTuple

from .. import json_reading
from .._core.arrays import Array


class KerasLayer(NamedTuple):
    """A layer of a Keras model.

    ``calls`` holds ``(args, kwargs)`` of each call, as nests in which a :class:`Value` stands for a tensor. ``arrays`` holds
    the weights by their path below the layer, such as ``cell/vars/0``.
    """

    name: str
    kind: str
    config: dict[str, Any]
    calls: list[tuple[Any, dict[str, Any]]]
    arrays: dict[str, Array]


class Value(NamedTuple):
    """Output ``output`` of call ``call`` of a layer."""

    layer: str
    call: int
    output: int


class KerasModel(NamedTuple):
    """The layers by name, and the values that are the model's inputs and outputs."""

    layers: dict[str, KerasLayer]
    inputs: list[Value]
    outputs: list[Value]


def read(path: str | os.PathLike[str]) -> KerasModel:
    """Read a file that ``keras.Model.save`` wrote.

    Raises OSError, ImportError without h5py, and ValueError for other content.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError('fastrnn.keras.load needs h5py: pip install "fastrnn[keras]"') from error
    try:
        with zipfile.ZipFile(path) as archive:
            description = json_reading.parse(archive.read("config.json"))
            with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as weights:
                return _model(description, weights)
    except (zipfile.BadZipFile, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{os.fspath(path)} must be a .keras file of Keras 3, got a file that lacks: {error}") from error


def _model(description: dict[str, Any], weights: Any) -> KerasModel:
    kind, config = description["class_name"], description["config"]
    if kind not in ("Sequential", "Functional"):
        raise ValueError(f"the model must be Sequential or functional, got {kind}")
    layers, counts = {}, dict[str, int]()
    for item in config["layers"]:
        name, count = item["config"]["name"], counts.get(item["class_name"], 0)
        counts[item["class_name"]] = count + 1
        group = _snake_case(item["class_name"]) + (f"_{count}" if count else "")
        calls = [(_nest(call["args"]), _nest(call["kwargs"])) for call in item.get("inbound_nodes", [])]
        arrays = _arrays(weights["layers"][group]) if group in weights["layers"] else {}
        layers[name] = KerasLayer(name, item["class_name"], item["config"], calls, arrays)
    if kind == "Functional":
        return KerasModel(layers, _values(config["input_layers"]), _values(config["output_layers"]))
    return _chain(layers, config)


def _snake_case(name: str) -> str:
    """Return a class's name as Keras writes it; its weights are stored under it, numbered in the order of the layers."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _chain(layers: dict[str, KerasLayer], config: dict[str, Any]) -> KerasModel:
    """Give the layers of a Sequential the calls that a functional model would have."""
    if next(iter(layers.values())).kind != "InputLayer":
        shape = {"batch_shape": config["build_input_shape"], "dtype": "float32"}
        layers = {"input": KerasLayer("input", "InputLayer", shape, [], {})} | layers
    names = list(layers)
    for name, before in zip(names[1:], names, strict=False):
        layers[name] = layers[name]._replace(calls=[([Value(before, 0, 0)], {})])
    return KerasModel(layers, [Value(names[0], 0, 0)], [Value(names[-1], 0, 0)])


def _values(histories: list[Any]) -> list[Value]:
    """Return values as ``[layer, call, index]``; a single one comes without its list."""
    return [Value(*history) for history in ([histories] if isinstance(histories[0], str) else histories)]


def _nest(value: Any) -> Any:
    if isinstance(value, list):
        return [_nest(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "__keras_tensor__":
        return Value(*value["config"]["keras_history"])
    return {key: _nest(item) for key, item in value.items()}


def _arrays(group: Any) -> dict[str, Array]:
    found: dict[str, Array] = {}
    group.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None)
    return found
