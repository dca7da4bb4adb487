"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._core.checks import describe
from .._stack_validation import check_lengths
from ..serialization import PathLike
from ._recurrent.base import Recurrent
from ._recurrent.embedding_table import EmbeddedRecurrent
from ._recurrent.fusion import fused
from ._recurrent.inputs import is_ids
from ._symbolic.input_spec import input_spec
from ._symbolic.lengths import handed_on, lengths_through, options_of
from ._symbolic.padding import Padding
from ._symbolic.symbols import Axis, Nest, Spec
from ._symbolic.time_first import TimeFirst, first, keeps_time
from .base import Layer
from .description import build_layer, describe_layer
from .fitted import Fitted

Array = NDArray[Any]


class Sequential(Fitted, Layer):
    """Each layer's output is the next one's input: torch.nn.Sequential, that also takes recurrent layers.

    A recurrent layer starts from a zero state and passes on y, its output at every step; its final state is dropped.
    ``lengths`` goes to every layer that looks along time, as far as there is a time axis, and padding changes nothing, as in
    a :class:`fastrnn.Model`: an output over time is zero there, and neither x nor dy is read there. A OneHot before a
    recurrent layer checks its ids and passes them on as they are: that layer takes ids, with the same result. An Embedding
    before one is multiplied by its input weights once where its tokens are few beside T*B. Parameter names start with the
    layer's index.

    If the recurrent layers have ``batch_first``, every sequence in it is ``[B, T, ...]``: a layer that reads or makes ``[T,
    B, ...]``, such as ``Last``, gets it so. Raises TypeError for what is not a layer, ValueError without any and for
    recurrent layers of which some have ``batch_first``.

    ``layers`` is for what :meth:`config` describes: a list of layers, of descriptions (``{"class": "GRU", "config":
    {...}}``), and of numbers, which stand for the layer of that index once more.
    """

    takes_need_dx = True

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
        if len({layer.batch_first for layer in _recurrent_layers(self)}) > 1:
            raise ValueError("recurrent layers of one Sequential must all have batch_first, or none of them")

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

    def save(self, path: PathLike, architecture: bool = True) -> None:
        """Write parameters and architecture to a safetensors file, atomically: :func:`fastrnn.load_model` reads it.

        Raises OSError, and TypeError for a layer that cannot be described; without ``architecture``, only the parameters are
        written, for :meth:`load`.
        """
        from .storage import save_layer

        if architecture:
            save_layer(path, self)
        else:
            super().save(path)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers, named by their index."""
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    @property
    def batch_first(self) -> bool:
        """Whether a recurrent layer in it takes ``[B, T, ...]``."""
        return any(map(_is_batch_first, self.layers))

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """Whether each of its layers is."""
        return all(layer.pointwise for layer in self.layers)

    @property
    def takes_lengths(self) -> bool:  # type: ignore[override]
        """Whether a model hands it lengths: not where padding stays padding without."""
        return not self.pointwise

    @property
    def reads_time(self) -> bool:  # type: ignore[override]
        """Whether the first of the layers that read or make time reads it."""
        layer = self._first_over_time()
        return layer is not None and layer.reads_time

    @property
    def makes_time(self) -> bool:  # type: ignore[override]
        """Whether the first of the layers that read or make time makes it."""
        layer = self._first_over_time()
        return layer is not None and not layer.reads_time

    @property
    def gives_time(self) -> bool | None:  # type: ignore[override]
        """Whether the last of its layers that is not pointwise gives time: ids gain an axis, so axes cannot be counted."""
        return next((layer.gives_time for layer in reversed(self.layers) if not layer.pointwise), None)

    def _first_over_time(self) -> Layer | None:
        return next((layer for layer in self.layers if layer.reads_time or layer.makes_time), None)

    def __call__(self, x: Any, lengths: Any = None) -> Array:
        """The last layer's output."""
        x, lengths, _ = self._enter(x, lengths)
        for layer in self._steps():
            y = first(layer(x, **options_of(layer, lengths)))
            x, lengths = y, handed_on(layer, lengths, x, y)
        return self._leave(x, self._padding(x, lengths))

    def forward(self, x: Any, lengths: Any = None) -> tuple[Array, Callable[..., Array | None]]:
        """The last layer's output, and a backward that maps its gradient to dx.

        dx is None where x is ids, and with ``backward(dy, need_dx=False)``, which leaves it out.
        """
        x, lengths, padding = self._enter(x, lengths)
        steps = self._steps()
        backwards: list[Callable[..., Any]] = []
        for layer in steps:
            outputs, backward = layer.forward(x, **options_of(layer, lengths))
            backwards.append(backward)
            y = first(outputs)
            x, lengths = y, handed_on(layer, lengths, x, y)
        shape, padding_out = np.shape(x), self._padding(x, lengths)

        def backward_all(dy: Array, *, need_dx: bool = True) -> Array | None:
            gradient: Array | None = dy
            if padding_out is not None and np.shape(dy) == shape:
                gradient = padding_out.cleared(dy)
            begin = 0 if need_dx else _first_to_learn(steps)
            for i in range(len(steps) - 1, begin - 1, -1):
                leave_out = i == begin and not need_dx and getattr(steps[i], "takes_need_dx", False)
                gradient = first(backwards[i](gradient, **({"need_dx": False} if leave_out else {})))
            if not need_dx:
                return None
            return gradient if padding is None or gradient is None else padding.cleared(gradient)

        return self._leave(x, padding_out), backward_all

    def _enter(self, x: Any, lengths: Any) -> tuple[Any, Any, Padding | None]:
        """x with nothing foreign in its padding; lengths, None where all are T; the padding. Raises as check_lengths."""
        if lengths is None or not isinstance(x, np.ndarray) or x.ndim < 2:
            return x, lengths, None
        T, B = x.shape[1::-1] if self.batch_first else x.shape[:2]
        lengths = check_lengths(lengths, T, B)
        padding = self._padding(x, lengths)
        if padding is None:
            return x, None, None
        alone = _minds_padding(self.layers[0]) and not (isinstance(self.layers[0], Recurrent) and is_ids(x))
        return x if alone else padding.filled(x), lengths, padding

    def _padding(self, x: Array, lengths: Any) -> Padding | None:
        """The padding of an array with these lengths; None without."""
        if lengths is None:
            return None
        batch_first = self.batch_first
        return Padding(lengths, x.shape[1 if batch_first else 0], batch_first)

    def lengths_after(self, lengths: Array) -> Any:
        """The lengths of y, None where a layer takes x's time away; see :meth:`Layer.lengths_after`."""
        return lengths_through(self.layers, lengths)

    def _leave(self, y: Array, padding: Padding | None) -> Array:
        """y with zeros in its padding."""
        return y if padding is None or _minds_padding(self.layers[-1]) else padding.cleared(y)

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """y's spec; see :meth:`Layer.infer`."""
        (x,) = inputs
        return self.specs(x)[-1]

    def specs(self, x: Spec) -> list[Spec]:
        """Return the spec of each layer's output, the first of several. Raises TypeError or ValueError naming the layer."""
        found: list[Spec] = []
        for i, layer in enumerate(self._laid_out()):
            try:
                x = first(layer.infer(x))
            except (TypeError, ValueError) as error:
                raise type(error)(f"layer {i}, {type(self.layers[i]).__name__}, does not take {x}: {error}") from error
            found.append(x)
        return found

    def summary(self, shape: Sequence[Axis] | None = None, dtype: str | None = None) -> None:
        """Print the model as a table: its layers by index, the shapes of what they give, parameters, and the total.

        ``shape`` and ``dtype`` are those of x, variable axes as letters, as in :func:`fastrnn.Input`: ``("T", "B", 64)``. By
        default they follow from the layers. Raises ValueError where they do not, or for an x that a layer does not take.
        """
        from ..graph.summary import sequential_summary

        print(sequential_summary(self, input_spec(self, shape, dtype)))

    def not_streaming(self) -> str | None:
        """Why it cannot be run chunk by chunk, None if it can."""
        reasons = ((i, layer.not_streaming()) for i, layer in enumerate(self.layers))
        return next((f"layer {i}, {type(self.layers[i]).__name__}: {why}" for i, why in reasons if why), None)

    def stream(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """``y, state`` of the next chunk of time: :meth:`Layer.stream`; the state is a tuple of the layers'."""
        y, state, _ = self._stream(x, state, lengths)
        return y, state

    def step(self, x_t: Array, state: Any = None) -> tuple[Array, Any]:
        """``y_t, state`` of one time step: :meth:`stream` of arrays without a time axis, ``[B, I]`` or ids ``[B]``."""
        if not isinstance(x_t, np.ndarray):
            raise TypeError(f"x_t must be an array of one time step, got {describe(x_t)}")
        axis = 1 if self.batch_first else 0
        y, state, over_time = self._stream(np.expand_dims(x_t, axis), state, None)
        return y.take(0, axis) if over_time else y, state

    def _stream(self, x: Any, state: Any, lengths: Any) -> tuple[Array, Any, bool]:
        """What :meth:`stream` gives, and whether y still has the time axis."""
        self.require_streaming()
        x, lengths, padding = self._enter(x, lengths)
        over_time = True
        steps = self._steps()
        if state is None:
            state = (None,) * len(steps)
        elif not (isinstance(state, tuple) and len(state) == len(steps)):
            raise TypeError(f"state must be what the last chunk gave, got {describe(state)}")
        after = []
        for layer, before in zip(steps, state, strict=True):
            outputs, now = layer.stream(x, state=before, **options_of(layer, lengths if over_time else None))
            y = first(outputs)
            x, over_time = y, over_time and keeps_time(layer, x, y)
            after.append(now)
        return self._leave(x, padding if over_time else None), tuple(after), over_time

    def _steps(self) -> list[Layer | EmbeddedRecurrent]:
        """The layers to run: a OneHot or an Embedding makes no vectors that would only feed a recurrent layer."""
        layers = self._laid_out()
        steps: list[Layer | EmbeddedRecurrent] = list(layers[:1])
        for before, layer in pairwise(layers):
            stand_in = fused(before, layer)
            if stand_in is not None:
                steps[-1:] = [step for step in stand_in if step is not None]
            else:
                steps.append(layer)
        return steps

    def _laid_out(self) -> list[Layer]:
        """The layers, each for sequences as this model has them."""
        if not self.batch_first:
            return self.layers
        return [TimeFirst(x) if (x.reads_time or x.makes_time) and not _is_batch_first(x) else x for x in self.layers]

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)


def _is_batch_first(layer: Layer) -> bool:
    return getattr(layer, "batch_first", False)


def _minds_padding(layer: Layer) -> bool:
    """Whether a layer that is given lengths passes over padding by itself, and puts zeros there."""
    return isinstance(layer, Recurrent) or (isinstance(layer, Sequential) and layer.takes_lengths)


def _recurrent_layers(layer: Layer) -> list[Recurrent]:
    """The recurrent layers in this one and in those of its layers that are a Sequential."""
    if isinstance(layer, Sequential):
        return [found for below in layer.layers for found in _recurrent_layers(below)]
    return [layer] if isinstance(layer, Recurrent) else []


def _first_to_learn(steps: list[Layer | EmbeddedRecurrent]) -> int:
    """The index of the first with parameters: no gradient need go further back."""
    return next((i for i, step in enumerate(steps) if isinstance(step, EmbeddedRecurrent) or step.parameters()), len(steps))
