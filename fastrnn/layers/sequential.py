"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..checks import describe
from ..functional import check_lengths
from ..serialization import PathLike
from .base import Layer
from .description import build_layer, describe_layer
from .door import is_ids
from .embedded import EmbeddedRecurrent
from .fused import fused
from .padding import Padding, require_defined_on_padding
from .recurrent_base import Recurrent
from .symbols import Nest

Array = NDArray[Any]


class Sequential(Layer):
    """Each layer's output is the next one's input: torch.nn.Sequential, that also takes recurrent layers.

    A recurrent layer starts from a zero state and passes on y, its output at every step; its final state is dropped.
    ``lengths`` goes to every layer that looks along time, as far as there is a time axis, and padding changes nothing, as in
    a :class:`fastrnn.Model`: an output over time is zero there, and neither x nor dy is read there. A OneHot before a
    recurrent layer checks its ids and passes them on as they are: that layer takes ids, with the same result. An Embedding
    before one is multiplied by its input weights once where its tokens are few beside T*B. Parameter names start with the
    layer's index. Raises TypeError for what is not a layer, ValueError without any.

    ``layers`` is for what :meth:`config` describes: a list of layers, of descriptions (``{"class": "GRU", "config":
    {...}}``), and of numbers, which stand for the layer of that index once more.
    """

    takes_lengths = True
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
        return any(getattr(layer, "batch_first", False) for layer in self.layers)

    def __call__(self, x: Any, lengths: Any = None) -> Array:
        """The last layer's output."""
        x, lengths, padding = self._enter(x, lengths)
        for layer in self._steps():
            y = _first(layer(x, **_options(layer, lengths)))
            x, lengths = y, _handed_on(lengths, x, y)
        return self._leave(x, padding if lengths is not None else None)

    def forward(self, x: Any, lengths: Any = None) -> tuple[Array, Callable[..., Array | None]]:
        """The last layer's output, and a backward that maps its gradient to dx.

        dx is None where x is ids, and with ``backward(dy, need_dx=False)``, which leaves it out.
        """
        x, lengths, padding = self._enter(x, lengths)
        steps = self._steps()
        backwards: list[Callable[..., Any]] = []
        for layer in steps:
            outputs, backward = layer.forward(x, **_options(layer, lengths))
            backwards.append(backward)
            y = _first(outputs)
            x, lengths = y, _handed_on(lengths, x, y)
        shape, over_time = np.shape(x), lengths is not None

        def backward_all(dy: Array, *, need_dx: bool = True) -> Array | None:
            gradient: Array | None = dy
            if padding is not None and over_time and np.shape(dy) == shape:
                gradient = padding.cleared(dy)
            first = 0 if need_dx else _first_to_learn(steps)
            for i in range(len(steps) - 1, first - 1, -1):
                leave_out = i == first and not need_dx and getattr(steps[i], "takes_need_dx", False)
                gradient = _first(backwards[i](gradient, **({"need_dx": False} if leave_out else {})))
            if not need_dx:
                return None
            return gradient if padding is None or gradient is None else padding.cleared(gradient)

        return self._leave(x, padding if over_time else None), backward_all

    def _enter(self, x: Any, lengths: Any) -> tuple[Any, Any, Padding | None]:
        """x with nothing foreign in its padding; lengths, None where all are T; the padding. Raises as check_lengths."""
        if lengths is None or not isinstance(x, np.ndarray) or x.ndim < 2:
            return x, lengths, None
        batch_first = self.batch_first
        T, B = x.shape[1::-1] if batch_first else x.shape[:2]
        lengths = check_lengths(lengths, T, B)
        if lengths is None:
            return x, None, None
        padding = Padding(lengths, T, batch_first)
        alone = isinstance(self.layers[0], Sequential) or (isinstance(self.layers[0], Recurrent) and not is_ids(x))
        return x if alone else padding.filled(x), lengths, padding  # those pass over it by themselves

    def _leave(self, y: Array, padding: Padding | None) -> Array:
        """y with zeros in its padding."""
        return y if padding is None or isinstance(self.layers[-1], (Recurrent, Sequential)) else padding.cleared(y)

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """y's spec; see :meth:`Layer.infer`."""
        if self.batch_first:
            raise ValueError("in a graph the time axis is the first: make its layers without batch_first")
        return super().infer(*inputs, **options)

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
        y, state, over_time = self._stream(x_t[None], state, None)
        return y[0] if over_time else y, state

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
            outputs, now = layer.stream(x, state=before, **_options(layer, lengths if over_time else None))
            y = _first(outputs)
            x, over_time = y, over_time and _keeps_time(x, y)
            after.append(now)
        return self._leave(x, padding if over_time else None), tuple(after), over_time

    def _steps(self) -> list[Layer | EmbeddedRecurrent]:
        """The layers to run: a OneHot or an Embedding makes no vectors that would only feed a recurrent layer."""
        steps: list[Layer | EmbeddedRecurrent] = list(self.layers[:1])
        for before, layer in pairwise(self.layers):
            stand_in = fused(before, layer)
            if stand_in is not None:
                steps[-1:] = [step for step in stand_in if step is not None]
            else:
                steps.append(layer)
        return steps

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)


def _first(outputs: Any) -> Any:
    """What goes on to the next layer: of several outputs (y and a state) the first."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _options(layer: Layer | EmbeddedRecurrent, lengths: Any) -> dict[str, Any]:
    """The lengths, for a layer that takes them. Raises ValueError for one that would read padding."""
    if lengths is None:
        return {}
    if isinstance(layer, EmbeddedRecurrent) or layer.takes_lengths:
        return {"lengths": lengths}
    require_defined_on_padding(layer)
    return {}


def _first_to_learn(steps: list[Layer | EmbeddedRecurrent]) -> int:
    """The index of the first with parameters: no gradient need go further back."""
    return next((i for i, step in enumerate(steps) if isinstance(step, EmbeddedRecurrent) or step.parameters()), len(steps))


def _handed_on(lengths: Any, x: Array, y: Array) -> Any:
    """The lengths for the next layer: none after one that takes the time axis away."""
    return lengths if lengths is not None and _keeps_time(x, y) else None


def _keeps_time(x: Array, y: Array) -> bool:
    return np.ndim(y) >= np.ndim(x)
