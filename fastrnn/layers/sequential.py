"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Self

from numpy.typing import NDArray

from ..checks import ids
from .base import Layer
from .dense import Embedding, OneHot
from .description import build_layer, describe_layer
from .embedded import EmbeddedRecurrent, embedded
from .recurrent_base import Recurrent

Array = NDArray[Any]


class Sequential(Layer):
    """Each layer's output is the next one's input: torch.nn.Sequential, that also takes recurrent layers.

    A recurrent layer starts from a zero state and passes on y, its output at every step; its final state is dropped.
    ``lengths`` goes to every recurrent layer, also in a Sequential within. A OneHot before a recurrent layer checks its
    ids and passes them on as they are: that layer takes ids, with the same result. An Embedding before one is
    multiplied by its input weights once where its tokens are few beside T*B. Parameter names start with the layer's
    index. Raises TypeError for what is not a layer, ValueError without any.

    ``layers`` is for what :meth:`config` describes: a list of layers, of descriptions (``{"class": "GRU", "config":
    {...}}``), and of numbers, which stand for the layer of that index once more.
    """

    def __init__(self, *args: Layer, layers: Iterable[Any] = ()) -> None:
        self.layers: list[Layer] = []
        for i, item in enumerate((*args, *layers)):
            if isinstance(item, Mapping):
                item = build_layer(item)
            elif isinstance(item, int) and 0 <= item < i:
                item = self.layers[item]
            if not isinstance(item, Layer):
                raise TypeError(f"layers must be fastrnn layers, got {item!r} at index {i}")
            self.layers.append(item)
        if not self.layers:
            raise ValueError("layers must hold at least one layer, got none")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments; see :meth:`Layer.config`. Raises TypeError if a layer cannot be described."""
        first: dict[int, int] = {}
        firsts = [first.setdefault(id(layer), i) for i, layer in enumerate(self.layers)]
        return {"layers": [describe_layer(self.layers[i]) if i == j else j for i, j in enumerate(firsts)]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom: Mapping[str, type[Layer]] | None = None) -> Self:
        """A new model from a :meth:`config`; see :meth:`Layer.from_config`."""
        made = (build_layer(item, custom) if isinstance(item, Mapping) else item for item in config["layers"])
        return cls(layers=made)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers, named by their index."""
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def __call__(self, x: Any, lengths: Any = None) -> Array:
        """The last layer's output."""
        for layer in self._steps():
            if isinstance(layer, (Recurrent, EmbeddedRecurrent)):
                x, _ = layer(x, lengths=lengths)
            else:
                x = layer(x, lengths) if isinstance(layer, Sequential) else layer(x)
        output: Array = x
        return output

    def forward(self, x: Any, lengths: Any = None) -> tuple[Array, Callable[[Array], Array | None]]:
        """The last layer's output, and a backward that maps its gradient to dx (None where x is ids)."""
        backwards: list[Callable[[Any], Any]] = []
        backward: Callable[..., Any]
        for layer in self._steps():
            if isinstance(layer, (Recurrent, EmbeddedRecurrent)):
                (x, _), backward = layer.forward(x, lengths=lengths)
                backwards.append(_only_dx(backward))
            else:
                x, backward = layer.forward(x, lengths) if isinstance(layer, Sequential) else layer.forward(x)
                backwards.append(backward)

        def backward_all(dy: Array) -> Array | None:
            gradient: Array | None = dy
            for backward in reversed(backwards):
                gradient = backward(gradient)
            return gradient

        return x, backward_all

    def _steps(self) -> list[Layer | EmbeddedRecurrent]:
        """The layers to run: a OneHot or an Embedding makes no vectors that would only feed a recurrent layer."""
        steps: list[Layer | EmbeddedRecurrent] = list(self.layers[:1])
        for before, layer in pairwise(self.layers):
            if isinstance(layer, Recurrent) and isinstance(before, OneHot) and before.num_classes == layer.input_size:
                steps[-1] = _Ids(before.num_classes)
            if isinstance(layer, Recurrent) and type(before) is Embedding:  # a subclass may do something else
                steps[-1] = embedded(before, layer)
            else:
                steps.append(layer)
        return steps

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)


class _Ids(Layer):
    """Token ids in -1..num_classes-1, checked as a OneHot would and passed on."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def __call__(self, x: Array) -> Array:
        """x."""
        return ids(x, self.num_classes)

    def forward(self, x: Array) -> tuple[Array, Callable[[Array | None], None]]:
        """x, and a backward that returns None: ids have no gradient."""
        return self(x), lambda dy: None


def _only_dx(backward: Callable[[Array], tuple[Array | None, Any]]) -> Callable[[Array], Array | None]:
    return lambda dy: backward(dy)[0]
