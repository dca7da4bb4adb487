"""Descriptions of a model: a table, a picture, JSON, a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from ..console import say
from ..layers.base import Layer
from ..layers.storage import Saved, from_json, to_json
from ..serialization import PathLike
from .description import build_model, describe_model
from .methods import Fitted
from .summary import sizes, summary
from .trace import Graph


class Described(Fitted, Saved):
    """Layer that is made of a graph."""

    graph: Graph

    def __init__(self, inputs: Any, outputs: Any) -> None:
        """Trace the graph from the inputs to the outputs; see :class:`fastrnn.Model`."""
        self.graph = Graph(inputs, outputs)

    def summary(self) -> None:
        """Print a table of the model's layers, output shapes, parameters and connections, with the total."""
        say(summary(self.name or "model", self.graph, *sizes(self)))

    def plot(self, path: PathLike) -> None:
        """Draw the model into a ``.png``, ``.svg`` or ``.pdf`` file: a box for each call, from inputs down to outputs.

        Raises ImportError without matplotlib, ValueError for another ending, OSError if the file cannot be written.
        """
        from .picture import draw

        draw(path, self.graph)

    def config(self) -> dict[str, Any]:
        """Return the inputs, the layers and the calls, in the form that :meth:`from_config` takes."""
        return describe_model(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom: Mapping[str, type[Layer]] | None = None) -> Self:
        """Build a new model from a :meth:`config`; see :meth:`Layer.from_config`."""
        return build_model(cls, config, custom)

    def to_json(self) -> str:
        """Return the architecture, without values, as JSON. Raises TypeError for a layer that cannot be described."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, custom: Mapping[str, type[Layer]] | None = None) -> Self:
        """Build a new model from the text of :meth:`to_json`, with newly drawn parameters.

        ``custom`` maps names to layer classes from outside fastrnn. Raises TypeError or ValueError for an invalid text, with
        the name of a layer that cannot be built.
        """
        model = from_json(text, custom)
        if not isinstance(model, cls):
            raise ValueError(f"text must describe a {cls.__name__}, got a {type(model).__name__}")
        return model
