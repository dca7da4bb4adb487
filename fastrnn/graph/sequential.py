"""Sequential: a chain of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from .._core import memory
from .._core.arrays import Array
from .._core.checks import describe, dtype_hint
from .._stack_validation import check_lengths
from ..functional import USED_TAPE
from ..layers._recurrent.inputs import is_ids
from ..layers._symbolic.input_spec import input_spec, leaves
from ..layers._symbolic.padding import Padding
from ..layers._symbolic.symbols import Axis, Nest, Spec
from ..layers._symbolic.time_first import first
from ..layers.base import Layer
from ..layers.description import build_layer, describe_layer
from ..layers.storage import Saved
from .chain import ChainPlan, Lengths, any_batch_first, is_batch_first, laid_out, require_layers
from .methods import Fitted
from .plan import Tape
from .summary import Table, sizes


class Sequential(Fitted, Saved):
    """Chain of layers, like torch.nn.Sequential, but also for recurrent layers.

    A recurrent layer starts from a zero state and passes on y, its output at every step; its final state is dropped.
    Parameter names start with the layer's index.

    **Lengths.** ``lengths`` reach every layer that combines time steps, up to the layer that removes the time axis. As in a
    :class:`fastrnn.Model`, padding changes nothing: outputs are zero there, and neither x nor dy is read there.

    **Ids.** After a OneHot, a recurrent layer reads the ids directly, with the same result. An Embedding is multiplied by
    the recurrent layer's input weights once if its vocabulary is small compared with T*B.

    **Batch first.** If the recurrent layers have ``batch_first``, all sequences are ``[B, T, ...]``. They are transposed for
    layers over ``[T, B, ...]``, such as ``Last``.

    ``layers`` takes the list of a :meth:`config`, whose items are layers, descriptions (``{"class": "GRU", "config":
    {...}}``), or numbers. A number repeats the layer of that index.

    Raises TypeError for an item that is not a layer, ValueError without layers or if only some recurrent layers have
    ``batch_first``.
    """

    takes_need_dx = True
    none_is_zero = True

    def __init__(self, *args: Layer, layers: Iterable[Any] = ()) -> None:
        self.layers: list[Layer] = []
        if not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of fastrnn layers, got {describe(layers)}")
        for i, item in enumerate((*args, *layers)):
            if isinstance(item, Mapping):
                item = build_layer(item)
            elif isinstance(item, int) and 0 <= item < i:
                item = self.layers[item]
            self.layers.append(item)
        require_layers(self.layers)
        if len({is_batch_first(layer) for layer in leaves(self) if layer.carries_state}) > 1:
            raise ValueError("recurrent layers of one Sequential must all have batch_first, or none of them")
        self._plan: ChainPlan | None = None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; see :meth:`Layer.config`. Raises TypeError if a layer cannot be described."""
        first: dict[int, int] = {}
        firsts = [first.setdefault(id(layer), i) for i, layer in enumerate(self.layers)]
        return {"layers": [describe_layer(self.layers[i]) if i == j else j for i, j in enumerate(firsts)]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom: Mapping[str, type[Layer]] | None = None) -> Self:
        """Build a new model from a :meth:`config`; see :meth:`Layer.from_config`."""
        made = (build_layer(item, custom) if isinstance(item, Mapping) else item for item in config["layers"])
        return cls(layers=made)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """Yield each layer's index, as its name, and the layer."""
        require_layers(self.layers)
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    @property
    def batch_first(self) -> bool:
        """True if a recurrent layer in the chain takes ``[B, T, ...]``."""
        return any_batch_first(self.layers)

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True if all layers are pointwise."""
        return all(layer.pointwise for layer in self.layers)

    @property
    def takes_lengths(self) -> bool:  # type: ignore[override]
        """True unless all layers are pointwise, because those do not need lengths."""
        return not self.pointwise

    skips_padding = takes_lengths  # type: ignore[assignment]

    @property
    def reads_time(self) -> bool:  # type: ignore[override]
        """True if a layer reads x's time axis: no layer before it adds one."""
        layer = self._first_over_time()
        return layer is not None and layer.reads_time

    @property
    def makes_time(self) -> bool:  # type: ignore[override]
        """True if a layer adds the time axis, and no layer before it reads one."""
        layer = self._first_over_time()
        return layer is not None and not layer.reads_time

    @property
    def gives_time(self) -> bool | None:  # type: ignore[override]
        """The ``gives_time`` of the last layer that is not pointwise.

        Counting axes would be wrong for the whole chain, because ids gain an axis.
        """
        return next((layer.gives_time for layer in reversed(self.layers) if not layer.pointwise), None)

    def _first_over_time(self) -> Layer | None:
        return next((layer for layer in self.layers if layer.reads_time or layer.makes_time), None)

    def __call__(self, x: Any, lengths: Any = None) -> Array:
        """Return the last layer's output."""
        plan = self._steps()
        if lengths is None:
            return plan.run([x])  # type: ignore[no-any-return]
        x, value_lengths, _ = self._fill_padding(plan, x, lengths)
        return self._clear_padding(plan, plan.run([x], value_lengths), value_lengths)[0]

    def forward(self, x: Any, lengths: Any = None) -> tuple[Array, Callable[..., Array | None]]:
        """Return the last layer's output and a backward that maps its gradient (None is zero) to dx.

        dx is None if x holds ids. ``backward(dy, need_dx=False)`` skips dx and returns None. backward can run once.
        """
        plan = self._steps()
        x, value_lengths, padding = self._fill_padding(plan, x, lengths)
        y, entries = plan.train([x], value_lengths)
        y, padding_out = self._clear_padding(plan, y, value_lengths)
        shape, dtype = y.shape, y.dtype

        def backward(dy: Array | None, *, need_dx: bool = True) -> Array | None:
            if not entries:
                raise RuntimeError(USED_TAPE)
            if dy is None:
                dy = memory.zeros(shape, dtype)
            elif padding_out is not None and getattr(dy, "shape", None) == shape:
                dy = padding_out.cleared(dy)
            sums = Tape(list(entries)).backward(plan.output_numbers, [dy], need_dx)
            entries.clear()  # only now: after an error, such as for a wrong dy, backward can still run
            dx: Array | None = sums.take(0) if need_dx else None
            return dx if padding is None or dx is None else padding.cleared(dx)

        return y, backward

    def _steps(self) -> ChainPlan:
        plan = self._plan
        if plan is None or not plan.is_current(self.layers):
            self._plan = plan = ChainPlan(self.layers)
        return plan

    def _fill_padding(self, plan: ChainPlan, x: Any, lengths: Any) -> tuple[Any, Lengths | None, Padding | None]:
        """Return x with filled padding, x's lengths and its padding; the last two are None if all lengths are T.

        Raises the errors of check_lengths.
        """
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

    def _clear_padding(self, plan: ChainPlan, y: Array, value_lengths: Lengths | None) -> tuple[Array, Padding | None]:
        """Return y with zeros in its padding, and the padding or None."""
        lengths = value_lengths.get(plan.output_numbers[0]) if value_lengths else None
        if lengths is None:
            return y, None
        padding = Padding(lengths, y.shape[1 if plan.batch_first else 0], plan.batch_first)
        return (y if self.layers[-1].skips_padding else padding.cleared(y)), padding

    def lengths_after(self, lengths: Any) -> Any:
        """Return the lengths of y, or None if a layer removes the time axis; see :meth:`Layer.lengths_after`."""
        for layer in self.layers:
            if lengths is None or layer.gives_time is False:
                return None
            lengths = layer.lengths_after(lengths)
        return lengths

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        (x,) = inputs
        return self.specs(x)[-1]

    def specs(self, x: Spec) -> list[Spec]:
        """Return the spec of each layer's first output. Raises TypeError or ValueError with the layer's name."""
        require_layers(self.layers)
        found: list[Spec] = []
        for i, layer in enumerate(laid_out(self.layers)):
            try:
                x = first(layer.infer(x))
            except (TypeError, ValueError) as error:
                raise type(error)(f"layer {i}, {type(self.layers[i]).__name__}, does not take {x}: {error}") from error
            found.append(x)
        return found

    def summary(self, shape: Sequence[Axis] | None = None, dtype: str | None = None) -> None:
        """Print a table of the layers by index, their output shapes and parameters, with the total.

        ``shape`` and ``dtype`` are those of x, with letters for variable axes as in :func:`fastrnn.Input`: ``("T", "B",
        64)``. By default they follow from the layers. Raises ValueError if they do not, or if a layer does not accept x.
        """
        given, table, source = input_spec(self, shape, dtype), Table(), "input"
        table.add_input(source, given)
        for i, (layer, output) in enumerate(zip(self.layers, self.specs(given), strict=True)):
            table.add(str(i), layer, [output], [source])
            source = str(i)
        print(table.text(self.name or "sequential", source, *sizes(self)))

    def not_streaming(self) -> str | None:
        """Return why the model cannot be streamed, or None."""
        reasons = ((i, layer.not_streaming()) for i, layer in enumerate(self.layers))
        return next((f"layer {i}, {type(self.layers[i]).__name__}: {why}" for i, why in reasons if why), None)

    def stream(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:  # type: ignore[override]
        """Return ``y, state`` of the next chunk of time, where the state is a tuple; see :meth:`Layer.stream`."""
        plan = self._steps()
        x, value_lengths, _ = self._fill_padding(plan, x, lengths)
        return self._stream(plan, x, state, value_lengths)

    def step(self, x_t: Array, state: Any = None) -> tuple[Array, Any]:
        """Process one time step ``[B, I]``, or ids ``[B]``, and return ``y_t, state``; see :meth:`stream`."""
        if not isinstance(x_t, np.ndarray):
            raise TypeError(f"x_t must be an array of one time step, got {describe(x_t)}")
        axis = 1 if self.batch_first else 0
        plan, value_lengths = self._steps(), Lengths({0: None})
        try:
            y, state = self._stream(plan, np.expand_dims(x_t, axis), state, value_lengths)
        except (TypeError, ValueError) as error:
            raise self._step_error(x_t, error) from None
        return y.take(0, axis) if plan.output_numbers[0] in value_lengths else y, state

    def _step_error(self, x_t: Array, error: Exception) -> Exception:
        """Rewrite the error of a step, so that it names ``x_t`` instead of an x with a time axis."""
        message = str(error)
        try:
            spec = input_spec(self, None, None)
        except ValueError:  # no layer has an input size
            spec = None
        if spec is None or not message.startswith("x must be"):
            return type(error)(f"x_t{message[1:]}" if message.startswith("x must ") else message)
        wanted, hint = "an array of integer token ids [B]", ""
        if spec.dtype != "int64":
            ids = " or integer token ids [B]" if next(leaves(self)).carries_state else ""
            wanted, hint = f"a {spec.dtype} array [B, {spec.shape[-1]}]{ids}", dtype_hint("x_t", x_t, spec.dtype)
        return type(error)(f"x_t must be {wanted}, one time step, got {describe(x_t)}{hint}")

    def _stream(self, plan: ChainPlan, x: Any, state: Any, value_lengths: Lengths | None) -> tuple[Array, Any]:
        self.require_streaming()
        if state is not None and not (isinstance(state, tuple) and len(state) == len(plan.steps)):
            raise TypeError(f"state must be the one that the last chunk returned, got {describe(state)}")
        y, (state, _) = plan.stream.run([x], None if state is None else (state, ()), value_lengths)
        return self._clear_padding(plan, y, value_lengths)[0], state

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)
