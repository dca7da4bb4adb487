"""Exporters: functions that write a layer in another framework's form, found by the layer's class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..layers._symbolic.symbols import Nest
from ..layers.base import Layer

Exporter = Callable[..., Nest]  # of a target, the layer, and what describes the call


def exported(exporters: Mapping[type, Exporter], lacking: str, target: Any, layer: Layer, *call: Any) -> Nest:
    """Run a layer's exporter, and return the values of the layer's outputs in the target.

    Parameters
    ----------
    exporters
        The exporter of each class of layers.
    lacking
        What is wrong if the layer's class has none.
    target, layer, *call
        The arguments of the exporter.

    Raises
    ------
    ValueError
        The message names the layer.
    """
    try:
        if (exporter := exporters.get(type(layer))) is None:
            raise ValueError(lacking)
        return exporter(target, layer, *call)
    except ValueError as error:
        raise ValueError(f"{layer.name or type(layer).__name__} cannot be exported: {error}") from None
