"""What stands in for a layer of ids and the recurrent layer that alone takes its vectors: nothing makes those vectors.

A OneHot before a recurrent layer checks its ids and passes them on as they are: that layer takes ids, with the same
result. An Embedding before one is multiplied by its input weights once where its tokens are few beside T*B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from ..._core.checks import ids
from ..base import Layer
from ..dense import Embedding, OneHot
from .base import Recurrent
from .embedding_table import EmbeddedRecurrent, embedded

Array = NDArray[Any]


def fused(before: Layer, layer: Layer) -> tuple[Layer | None, Layer | EmbeddedRecurrent] | None:
    """What to run in place of ``before`` (None: nothing) and of ``layer``; None where they are run as they are."""
    if not isinstance(layer, Recurrent):
        return None
    if isinstance(before, OneHot) and before.num_classes == layer.input_size:
        return _Ids(before, layer), layer
    if type(before) is Embedding:  # a subclass may do something else
        return None, embedded(before, layer)
    return None


class _Ids(Layer):
    """Token ids, checked as a OneHot would and passed on; vectors where the recurrent layer drops some of their features."""

    pointwise = True

    def __init__(self, one_hot: OneHot, recurrent: Recurrent) -> None:
        self.one_hot, self.recurrent = one_hot, recurrent

    def children(self) -> Iterator[tuple[str, Layer]]:
        """None: the two are looked at, not run in it."""
        return iter(())

    def __call__(self, x: Array) -> Array:
        """x."""
        return ids(x, self.one_hot.num_classes)

    def forward(self, x: Array) -> tuple[Array, Callable[[Any], None]]:
        """x or its vectors, and a backward that returns None: ids have no gradient."""
        if self.recurrent.input_dropout:  # which may have been set since
            return self.one_hot.forward(x)
        return self(x), lambda dy: None
