"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._core import memory
from .._core.checks import describe
from .._stack_validation import check_lengths
from ..layers._recurrent.inputs import is_ids
from ..layers._symbolic.input_spec import input_spec, leaves
from ..layers._symbolic.padding import Padding
from ..layers._symbolic.symbols import Axis, Nest, Spec
from ..layers._symbolic.time_first import first
from ..layers.base import Layer
from ..layers.description import build_layer, describe_layer
from ..layers.storage import Saved
from .chain import ChainPlan, Lengths, is_batch_first, laid_out
from .methods import Fitted
from .plan import Tape
from .summary import Table, sizes

Array = NDArray[Any]


class Sequential(Fitted, Saved):
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
    none_is_zero = True

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
        if len({is_batch_first(layer) for layer in leaves(self) if layer.carries_state}) > 1:
            raise ValueError("recurrent layers of one Sequential must all have batch_first, or none of them")
        self._plan: ChainPlan | None = None

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

    @property
    def batch_first(self) -> bool:
        """Whether a recurrent layer in it takes ``[B, T, ...]``."""
        return any(map(is_batch_first, self.layers))

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """Whether each of its layers is."""
        return all(layer.pointwise for layer in self.layers)

    @property
    def takes_lengths(self) -> bool:  # type: ignore[override]
        """Whether a model hands it lengths: not where padding stays padding without."""
        return not self.pointwise

    skips_padding = takes_lengths  # type: ignore[assignment]

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
        plan = self._steps()
        if lengths is None:
            return plan.run([x])  # type: ignore[no-any-return]
        x, known, _ = self._enter(plan, x, lengths)
        return self._leave(plan, plan.run([x], known), known)[0]

    def forward(self, x: Any, lengths: Any = None) -> tuple[Array, Callable[..., Array | None]]:
        """The last layer's output, and a backward that maps its gradient, None for zero, to dx.

        dx is None where x is ids, and with ``backward(dy, need_dx=False)``, which leaves it out.
        """
        plan = self._steps()
        x, known, padding = self._enter(plan, x, lengths)
        y, entries = plan.train([x], known)
        y, padding_out = self._leave(plan, y, known)
        shape, dtype = y.shape, y.dtype

        def backward(dy: Array | None, *, need_dx: bool = True) -> Array | None:
            if dy is None:
                dy = memory.zeros(shape, dtype)
            elif padding_out is not None and np.shape(dy) == shape:
                dy = padding_out.cleared(dy)
            sums = Tape(list(entries)).backward(plan.output_numbers, [dy], need_dx)
            dx: Array | None = sums.take(0) if need_dx else None
            return dx if padding is None or dx is None else padding.cleared(dx)

        return y, backward

    def _steps(self) -> ChainPlan:
        plan = self._plan
        if plan is None or plan.layers != self.layers or (plan.nested and plan.batch_first != self.batch_first):
            self._plan = plan = ChainPlan(self.layers, self.batch_first)
        return plan

    def _enter(self, plan: ChainPlan, x: Any, lengths: Any) -> tuple[Any, Lengths | None, Padding | None]:
        """x with nothing foreign in its padding; its lengths, None where all are T; the padding. Raises as check_lengths."""
        if lengths is None:
            return x, None, None
        if not isinstance(x, np.ndarray) or x.ndim < 2:
            return x, {0: lengths}, None
        T, B = x.shape[1::-1] if plan.batch_first else x.shape[:2]
        lengths = check_lengths(lengths, T, B)
        if lengths is None:
            return x, None, None
        padding = Padding(lengths, T, plan.batch_first)
        alone = self.layers[0].skips_padding and not (self.layers[0].carries_state and is_ids(x))
        return x if alone else padding.filled(x), {0: lengths}, padding

    def _leave(self, plan: ChainPlan, y: Array, known: Lengths | None) -> tuple[Array, Padding | None]:
        """y with zeros in its padding, and that padding; None without."""
        lengths = known.get(plan.output_numbers[0]) if known else None
        if lengths is None:
            return y, None
        padding = Padding(lengths, y.shape[1 if plan.batch_first else 0], plan.batch_first)
        return (y if self.layers[-1].skips_padding else padding.cleared(y)), padding

    def lengths_after(self, lengths: Any) -> Any:
        """The lengths of y, None where a layer takes x's time away; see :meth:`Layer.lengths_after`."""
        for layer in self.layers:
            if lengths is None or layer.gives_time is False:
                return None
            lengths = layer.lengths_after(lengths)
        return lengths

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """y's spec; see :meth:`Layer.infer`."""
        (x,) = inputs
        return self.specs(x)[-1]

    def specs(self, x: Spec) -> list[Spec]:
        """Return the spec of each layer's output, the first of several. Raises TypeError or ValueError naming the layer."""
        found: list[Spec] = []
        for i, layer in enumerate(laid_out(self.layers, self.batch_first)):
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
        given, table, source = input_spec(self, shape, dtype), Table(), "input"
        table.add_input(source, given)
        for i, (layer, output) in enumerate(zip(self.layers, self.specs(given), strict=True)):
            table.add(str(i), layer, [output], [source])
            source = str(i)
        print(table.text(self.name or "sequential", source, *sizes(self)))

    def not_streaming(self) -> str | None:
        """Why it cannot be run chunk by chunk, None if it can."""
        reasons = ((i, layer.not_streaming()) for i, layer in enumerate(self.layers))
        return next((f"layer {i}, {type(self.layers[i]).__name__}: {why}" for i, why in reasons if why), None)

    def stream(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """``y, state`` of the next chunk of time: :meth:`Layer.stream`; the state is a tuple of the layers'."""
        plan = self._steps()
        x, known, _ = self._enter(plan, x, lengths)
        return self._stream(plan, x, state, known)

    def step(self, x_t: Array, state: Any = None) -> tuple[Array, Any]:
        """``y_t, state`` of one time step: :meth:`stream` of arrays without a time axis, ``[B, I]`` or ids ``[B]``."""
        if not isinstance(x_t, np.ndarray):
            raise TypeError(f"x_t must be an array of one time step, got {describe(x_t)}")
        axis = 1 if self.batch_first else 0
        plan, known = self._steps(), Lengths({0: None})
        y, state = self._stream(plan, np.expand_dims(x_t, axis), state, known)
        return y.take(0, axis) if plan.output_numbers[0] in known else y, state

    def _stream(self, plan: ChainPlan, x: Any, state: Any, known: Lengths | None) -> tuple[Array, Any]:
        self.require_streaming()
        if state is not None and not (isinstance(state, tuple) and len(state) == len(plan.steps)):
            raise TypeError(f"state must be what the last chunk gave, got {describe(state)}")
        y, (state, _) = plan.stream.run([x], None if state is None else (state, ()), known)
        return self._leave(plan, y, known)[0], state

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)
