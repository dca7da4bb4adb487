"""Layers of token ids as Keras' Embedding."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ... import layers
from ..._core.arrays import Array
from .builder import Builder, Specs, Values


def embedding(b: Builder, layer: layers.Embedding, args: Values, specs: Specs, options: Any) -> Any:
    """Rows of the weight."""
    return b.once(layer, lambda: _table(b.name_of(layer), layer.weight.values, b.masks))(args[0])


def one_hot(b: Builder, layer: layers.OneHot, args: Values, specs: Specs, options: Any) -> Any:
    """One-hot vectors of ids."""
    return b.once(layer, lambda: one_hot_vectors(b, layer, layer.num_classes, layer.dtype))(args[0])


def one_hot_vectors(b: Builder, layer: layers.Layer, classes: int, dtype: str) -> Any:
    """Return a Keras layer from ids to one-hot vectors, which are the rows of a constant table."""
    table = _table(b.name_of(layer, "_one_hot"), np.eye(classes, dtype=dtype), b.masks)
    table.trainable = False
    return table


def _table(name: str, rows: Array, mask_zero: bool) -> Any:
    table = keras.layers.Embedding(*rows.shape, mask_zero=mask_zero, dtype=rows.dtype.name, name=name)
    table.build()
    table.set_weights([rows])
    return table
