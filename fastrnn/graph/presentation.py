"""What a model says of itself: as a table, a picture, JSON, a file."""

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
    """A layer that is made of a graph."""

    graph: Graph

    def __init__(self, inputs: Any, outputs: Any) -> None:
        """The graph between some symbols and others: see :class:`fastrnn.Model`."""
        self.graph = Graph(inputs, outputs)

    def summary(self) -> None:
        """Print the model as a table: its layers, the shapes of what they give, parameters, connections, and the total."""
        say(summary(self.name or "model", self.graph, *sizes(self)))

    def plot(self, path: PathLike) -> None:
        """Draw the model into a ``.png``, ``.svg`` or ``.pdf``: a box for each call, from the inputs down to the outputs.

        Needs matplotlib. Raises ImportError without it, ValueError for another ending, OSError when it cannot be written.
        """
        from .picture import draw

        draw(path, self.graph)

    def config(self) -> dict[str, Any]:
        """What :meth:`from_config` takes: the inputs, the layers, and which is called on what."""
        return describe_model(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom: Mapping[str, type[Layer]] | None = None) -> Self:
        """A new model from a :meth:`config`; see :meth:`Layer.from_config`."""
        return build_model(cls, config, custom)

    def to_json(self) -> str:
        """The architecture, without values, as JSON. Raises TypeError for a layer that cannot be described."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, custom: Mapping[str, type[Layer]] | None = None) -> Self:
        """A new model from :meth:`to_json`, its parameters drawn anew.

        ``custom`` has the layers' classes that are not fastrnn's, by name. Raises TypeError or ValueError for what is
        not such a text, naming the layer that cannot be made.
        """
        model = from_json(text, custom)
        if not isinstance(model, cls):
            raise ValueError(f"text must describe a {cls.__name__}, got a {type(model).__name__}")
        return model
