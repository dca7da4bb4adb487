"""Layers in safetensors files, whose metadata holds the architecture as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .._core import checks
from .._core.drawing_limit import limited_to
from ..json_reading import JsonError, parse
from ..serialization import FileFormatError, PathLike, load_arrays, save_arrays
from .base import Layer
from .description import build_layer, check_custom, describe_layer

KEY = "fastrnn.layer"


def to_json(layer: Layer) -> str:
    """Return the architecture, without values, as JSON. Raises TypeError if the layer cannot be described."""
    return json.dumps(describe_layer(layer), indent=1, allow_nan=False)


def from_json(text: str, custom: Mapping[str, type[Layer]] | None = None) -> Layer:
    """Build a layer from the text of :func:`to_json`, with newly drawn parameters.

    ``custom`` maps names to layer classes from outside fastrnn. Raises ValueError for invalid text, TypeError or ValueError
    for a layer that cannot be built.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, JSON of a layer, got {checks.describe(text)}")
    try:
        description = parse(text)
    except JsonError as error:
        raise ValueError(f"text must be JSON of a layer: {error}") from error
    return build_layer(description, custom)


class Saved(Layer):
    """Layer that is saved with its architecture."""

    def save(self, path: PathLike, architecture: bool = True) -> None:
        """Write the parameters and the architecture to a safetensors file for :func:`fastrnn.load_model`, atomically.

        With ``architecture=False``, only the parameters are written, for :meth:`load`. Raises OSError, or TypeError if the
        layer cannot be described, for example because it holds a function.
        """
        save_arrays(path, self._stored_state(), {KEY: to_json(self)} if architecture else None)


def load_model(path: PathLike, custom: Mapping[str, type[Layer]] | None = None) -> Layer:
    """Read the Model or Sequential that ``model.save(path)`` wrote: its architecture and values.

    ``custom`` maps names to layer classes from outside fastrnn. Nothing in the file is executed.

    Raises
    ------
    OSError
        If the file cannot be read.
    fastrnn.serialization.FileFormatError
        If the file is damaged, foreign, or holds weights alone.
    ValueError, TypeError
        If a layer cannot be built, its values do not fit, or it needs far more values than the file holds; the message names
        the file.
    """
    check_custom(custom)  # outside the try block, so the message does not blame the file
    arrays, metadata = load_arrays(path)
    if KEY not in metadata:
        raise FileFormatError(f"{path} has no architecture, only arrays: build the model and call its load(path)")
    try:
        with limited_to(arrays.values()):
            layer = from_json(metadata[KEY], custom)
        layer.load_state_dict(arrays)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    return layer
