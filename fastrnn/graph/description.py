"""Conversion of a model to a JSON-able description and back: its inputs, its layers and their calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .._core.checks import describe
from .._core.parameter import Parameter
from ..layers._symbolic.symbols import Axis, Nest, Symbol, flat, is_nested, mapped
from ..layers.base import Layer
from ..layers.description import build_layer, describe_layer
from .input import Input
from .trace import Graph

if TYPE_CHECKING:
    from .presentation import Described

VERSION = 1


def describe_model(model: Described) -> dict[str, Any]:
    """Return the description that :func:`build_model` takes. Raises TypeError for a layer that cannot be described."""
    graph = model.graph
    names = graph.symbol_names

    def named(nest: Nest) -> Any:
        return mapped(nest, names.__getitem__)

    symbols = zip(graph.input_names, graph.flat_inputs, strict=True)
    layer_names = {id(layer): name for name, layer in graph.layers.items()}
    config: dict[str, Any] = {
        "version": VERSION,
        "name": model.name,
        "inputs": {name: {"shape": [_letter(axis) for axis in s.shape], "dtype": s.dtype} for name, s in symbols},
        "layers": {name: _described_layer(layer) for name, layer in graph.layers.items()},
        "calls": [
            _described_call(layer_names[id(n.layer)], named(n.args), n.options, named(n.outputs)) for n in graph.nodes
        ],
        "takes": named(graph.inputs),
        "gives": named(graph.outputs),
        "shared": shared_parameters(model),
    }
    return {key: value for key, value in config.items() if value is not None and value != []}


def _letter(axis: Axis) -> Axis:
    """Return an axis as an Input accepts it; the axis of a slice, such as ``T-1``, gets the name ``T_1``."""
    if isinstance(axis, int) or axis.isidentifier():
        return axis
    name = re.sub(r"\W+", "_", axis).strip("_") or "T"
    return name if name[0].isupper() else f"T_{name}"


def _described_layer(layer: Layer) -> dict[str, Any]:
    description = describe_layer(layer)
    if isinstance(getattr(layer, "graph", None), Graph):
        description["config"].pop("name", None)  # the outer model stores the name
    return description


def _described_call(layer: str, takes: Nest, options: dict[str, Any], gives: Nest) -> dict[str, Any]:
    call = {"layer": layer, "takes": takes, "gives": gives}
    return call | {"options": options} if options else call


M = TypeVar("M", bound="Described")


def build_model(kind: type[M], config: Mapping[str, Any], custom: Mapping[str, type[Layer]] | None) -> M:
    """Build a new model, with newly drawn parameters, from a description.

    The description has these items:

    ``inputs``
        shape and dtype of each input, by name.
    ``layers``
        each layer's class and config, by name.
    ``calls``
        in order: a layer's name, its inputs ``takes`` and outputs ``gives`` (nests of names of values), and the call's
        options.
    ``takes``, ``gives``
        the inputs and outputs of the model, nests of names of values.
    ``shared``
        lists of names that belong to one parameter.

    Raises ValueError, with the place, for an invalid description; TypeError or ValueError for layers that cannot be built.
    """
    if config.get("version") != VERSION:
        raise ValueError(f"a model's description must be of version {VERSION}, got {describe(config.get('version'))}")
    try:
        values = {
            name: Input(tuple(spec["shape"]), spec["dtype"], name if name.isidentifier() else None)
            for name, spec in config["inputs"].items()
        }
        layers = {name: _built(name, item, custom) for name, item in config["layers"].items()}
        for call in config["calls"]:
            _call(layers, values, call)
        model = kind(_found(values, config["takes"]), _found(values, config["gives"]))
        model.name = config.get("name")
        for names in config.get("shared", ()):
            _share(model, names)
    except (KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"not a model's description: {type(error).__name__} {error}") from error
    return model


def _built(name: str, description: object, custom: Mapping[str, type[Layer]] | None) -> Layer:
    """Build the layer of this name. Raises TypeError or ValueError naming it."""
    try:
        return build_layer(description, custom).named(name)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _call(layers: dict[str, Layer], values: dict[str, Symbol], call: Mapping[str, Any]) -> None:
    """Repeat one call of a layer, and add its outputs to ``values``."""
    result = layers[call["layer"]](*_found(values, list(call["takes"])), **call.get("options", {}))
    names, symbols = list(flat(call["gives"])), list(flat(result))
    if len(names) != len(symbols):
        raise ValueError(f"{call['layer']} gives {len(symbols)} values, not {len(names)}")
    for name, symbol in zip(names, symbols, strict=True):
        values.setdefault(name, symbol)  # an input may stand for a value within the graph


def _found(values: dict[str, Symbol], nest: Nest) -> Nest:
    if is_nested(nest):
        return tuple(_found(values, item) for item in nest)
    if nest is not None and nest not in values:
        raise ValueError(f"nothing gives the value {describe(nest)}")
    return None if nest is None else values[nest]


def shared_parameters(layer: Layer) -> list[list[str]]:
    """Return the names of each parameter that has several, such as an embedding's weight that a Linear also uses."""
    names: dict[int, list[str]] = {}
    for name, parameter in layer.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _share(model: Layer, names: list[str]) -> None:
    owners = [_owner(model, name) for name in names]
    first = getattr(*owners[0])
    for owner, attribute in owners[1:]:
        own = getattr(owner, attribute)
        if own.shape != first.shape or own.dtype != first.dtype:
            raise ValueError(f"{names[0]} and {attribute} cannot be one: {first} and {own}")
        setattr(owner, attribute, first)


def _owner(layer: Layer, name: str) -> tuple[Layer, str]:
    """Return the layer that holds a parameter, and the name of its attribute."""
    if isinstance(getattr(layer, name, None), Parameter):
        return layer, name
    for below, child in layer.children():
        if name.startswith(below + "."):
            return _owner(child, name.removeprefix(below + "."))
    raise ValueError(f"there is no parameter {name}")
