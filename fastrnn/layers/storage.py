"""Layers in files with their architecture: safetensors, whose metadata has the layer's description as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .._core import checks
from ..json_reading import JsonError, parse
from ..serialization import FileFormatError, PathLike, load_arrays, save_arrays
from .base import Layer
from .description import build_layer, check_custom, describe_layer

KEY = "fastrnn.layer"


def to_json(layer: Layer) -> str:
    """The architecture, without values, as JSON. Raises TypeError for a layer that cannot be described."""
    return json.dumps(describe_layer(layer), indent=1, allow_nan=False)


def from_json(text: str, custom: Mapping[str, type[Layer]] | None = None) -> Layer:
    """A new layer from :func:`to_json`, its parameters drawn anew; ``custom`` has classes that are not fastrnn's, by name.

    Raises ValueError for what is not such a text, TypeError or ValueError for a layer that cannot be made.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, JSON of a layer, got {checks.describe(text)}")
    try:
        description = parse(text)
    except JsonError as error:
        raise ValueError(f"text must be JSON of a layer: {error}") from error
    return build_layer(description, custom)


class Saved(Layer):
    """A layer that is saved with its architecture."""

    def save(self, path: PathLike, architecture: bool = True) -> None:
        """Write the parameters and the architecture to a safetensors file, atomically: :func:`fastrnn.load_model` reads it.

        Raises OSError, and TypeError for a layer that cannot be described, such as one with a function in it; without
        ``architecture``, only the parameters are written, for :meth:`load`.
        """
        save_arrays(path, self.state_dict(), {KEY: to_json(self)} if architecture else None)


def load_model(path: PathLike, custom: Mapping[str, type[Layer]] | None = None) -> Layer:
    """The layer that ``model.save(path)`` wrote, a Model or a Sequential: architecture and values.

    ``custom`` has the layers' classes that are not fastrnn's, by name. Nothing in the file is executed. Raises OSError,
    :class:`fastrnn.serialization.FileFormatError` (damaged, foreign, or with weights alone), ValueError or TypeError, naming
    the file, for a layer that cannot be made or whose values do not fit.
    """
    check_custom(custom)  # which is not the file's fault
    arrays, metadata = load_arrays(path)
    if KEY not in metadata:
        raise FileFormatError(f"{path} has no architecture, only arrays: make the model and use its load(path)")
    try:
        layer = from_json(metadata[KEY], custom)
        layer.load_state_dict(arrays)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    return layer
