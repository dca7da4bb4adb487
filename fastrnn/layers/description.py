"""Layers as JSON-able descriptions, ``{"class": name, "config": constructor's arguments}``, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._core import checks
from .base import Layer

Description = dict[str, Any]
PUBLIC: dict[str, type[Layer]] = {}  # fastrnn's layers by name: the package adds them once it has them all


def describe_layer(layer: Layer) -> Description:
    """The class's name and :meth:`Layer.config`. Raises TypeError for a layer that cannot be described."""
    kind, config = type(layer).__name__, layer.config()
    for name, value in config.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            fault = f"its argument {name} must fit into JSON, got {checks.describe(value)}"
            raise TypeError(f"{kind} cannot be described: {fault}") from None
    return {"class": kind, "config": config}


def check_custom(custom: object) -> None:
    """Raise TypeError for what is neither None nor a mapping of names to classes of layers."""
    if custom is None:
        return
    if not isinstance(custom, Mapping):
        raise TypeError(f"custom must map names to classes, {{'Name': Name}}, got {checks.describe(custom)}")
    for name, kind in custom.items():
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise TypeError(f"custom[{name!r}] must be a subclass of fastrnn.Layer, got {checks.describe(kind)}")


def build_layer(description: object, custom: Mapping[str, type[Layer]] | None = None) -> Layer:
    """A new layer from what :func:`describe_layer` gave, its parameters drawn anew.

    Classes are looked up in ``custom``, by name, then among fastrnn's public ones. Raises TypeError for what is not a
    description and for a ``custom`` that is none, ValueError for a class that is in neither place, and whatever the
    constructor raises.
    """
    if not (isinstance(description, Mapping) and set(description) == {"class", "config"}):
        raise TypeError(f"a layer's description must hold 'class' and 'config', got {checks.describe(description)}")
    name, config = description["class"], description["config"]
    if not (isinstance(name, str) and isinstance(config, Mapping)):
        raise TypeError(f"a description's class must be a name and its config a dict, got {checks.describe(description)}")
    check_custom(custom)
    kind = (custom or {}).get(name) or PUBLIC.get(name)
    if not (isinstance(kind, type) and issubclass(kind, Layer)):
        raise ValueError(f"there is no layer of class {name!r} in fastrnn or among the custom ones")
    return kind.from_config(config, custom)
