"""Conversion of layers to and from descriptions that fit into JSON, ``{"class": name, "config": arguments}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._core import checks
from .base import Layer

Description = dict[str, Any]
PUBLIC: dict[str, type[Layer]] = {}  # fastrnn's layers by name, filled in when the package is imported


def describe_layer(layer: Layer) -> Description:
    """Return the layer's class name and :meth:`Layer.config`. Raises TypeError if the layer cannot be described."""
    kind, config = type(layer).__name__, layer.config()
    for name, value in config.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            fault = f"its argument {name} must fit into JSON, got {checks.describe(value)}"
            raise TypeError(f"{kind} cannot be described: {fault}") from None
    return {"class": kind, "config": config}


def check_custom(custom: object) -> None:
    """Raise TypeError unless ``custom`` is None or a mapping of names to layer classes."""
    if custom is None:
        return
    if not isinstance(custom, Mapping):
        raise TypeError(f"custom must map names to classes, {{'Name': Name}}, got {checks.describe(custom)}")
    for name, kind in custom.items():
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise TypeError(f"custom[{name!r}] must be a subclass of fastrnn.Layer, got {checks.describe(kind)}")


def build_layer(description: object, custom: Mapping[str, type[Layer]] | None = None) -> Layer:
    """Build a layer from a description by :func:`describe_layer`, with newly drawn parameters.

    The class is looked up by name in ``custom``, then among fastrnn's public layers. Raises TypeError for an invalid
    description or ``custom``, ValueError for an unknown class, and any error of the constructor.
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
