"""Model: the functional API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers._recurrent.inputs import array
from ..layers._symbolic.symbols import Axis, Nest, Spec, Symbol, apply, flat, mapped, takes_symbols
from ..layers._symbolic.time_axes import lengths_of, renamed
from ..layers.base import Layer
from .calls import GraphPlan, Lengths
from .plan import Tape
from .presentation import Described
from .streaming import GraphStream
from .validation import Paddings, Sizes, arranged, check_all_lengths, check_array, fits, shape_of, sizes_of, zipped

Array = NDArray[Any]


class Model(Described):
    """The layers between some symbols and others, as one layer.

    ``inputs`` and ``outputs`` are a Symbol, or lists or tuples of them, which may be nested: ``(y, (h_n, c_n))``. The inputs
    may be any symbols, also ones within a graph: two models may share a part of one. Arrays have the symbols' order::

        x = Input(("T", "B", 64))
        y, h_n = GRU(64, 128)(x)
        model = Model(x, Linear(128, 10)(y))

        y = model(x, lengths=lengths)                         # inference keeps nothing
        y, backward = model.forward(x, lengths=lengths)       # training ...
        dx = backward(dy)                                     # ... adds into p.grad of every parameter

    Several inputs are several arguments; several outputs are a tuple, whose gradients are backward's arguments. A
    gradient may be None for zero, and is for ids; ``backward(dy, need_dx=False)`` leaves those of the inputs out. backward
    is run once.

    ``lengths`` are integers ``[B]`` in 0..T, or ``{"T": ..., "S": ...}`` where there are several time axes; every layer
    that looks along time is given them. Padding changes nothing: whatever the inputs hold there, outputs with a time axis
    are zero there, and their gradients are not read there.

    A layer is called by its ``name``, else by its class' name in lower case; so are its parameters. Raises TypeError for
    what is not a Symbol, ValueError for outputs that depend on an Input that is not given, inputs that nothing depends
    on, and names that stand twice, of layers and inputs together. Calls raise TypeError for a wrong type, dtype or number
    of arrays, ValueError for a wrong shape or lengths, RuntimeError for a second backward or one after a parameter has
    changed, by which time the gradients of later layers may have been added: call ``zero_grad`` before another one.
    """

    takes_lengths = True
    none_is_zero = True
    takes_need_dx = True

    def __init__(self, inputs: Nest, outputs: Nest) -> None:
        super().__init__(inputs, outputs)
        graph = self.graph
        self._specs = [symbol.spec for symbol in graph.flat_inputs]
        names = iter(graph.input_names)
        self._names: Nest = mapped(graph.inputs, lambda _: next(names))
        self._time_axes = list(dict.fromkeys(spec.time for spec in self._specs if spec.time is not None))
        self._gradient_names = mapped(graph.outputs, lambda symbol: f"d{graph.symbol_names[symbol]}")
        self._input_specs = mapped(graph.inputs, lambda symbol: symbol.spec)
        self._output_specs = mapped(graph.outputs, lambda symbol: symbol.spec)
        zero = {symbol for node in graph.nodes if node.layer.skips_padding for symbol in flat(node.outputs)}
        self._clean = mapped(graph.outputs, lambda symbol: symbol in zero)
        self._dirty_inputs = self._inputs_to_clear()
        self._plan: GraphPlan | None = None
        self._stream: GraphStream | None = None

    def _inputs_to_clear(self) -> list[bool]:
        """Return for each input whether a layer reads it that does not skip padding."""
        others = {
            symbol
            for node in self.graph.nodes
            for symbol in flat(node.args)
            if not node.layer.skips_padding or symbol.dtype == "int64"  # ids are checked, padding too
        }
        others.update(self.graph.flat_outputs)
        return [symbol in others for symbol in self.graph.flat_inputs]

    @property
    def inputs(self) -> Nest:
        """The symbols that it was made of."""
        return self.graph.inputs

    @property
    def outputs(self) -> Nest:
        """The symbols that it was made of."""
        return self.graph.outputs

    @property
    def reads_time(self) -> bool:  # type: ignore[override]
        """Whether its first input has time."""
        return bool(self._specs[0].sequence)

    @property
    def gives_time(self) -> bool:  # type: ignore[override]
        """Whether its first output has time."""
        return bool(next(flat(self._output_specs)).sequence)

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers by name, in the order in which they are first called."""
        return dict(self.graph.layers)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers, with their names."""
        return iter(self.graph.layers.items())

    @takes_symbols
    def __call__(self, *arrays: Any, lengths: Any = None) -> Any:
        """The outputs for arrays, or for symbols; see the class."""
        try:
            values, found, padding, _ = self._enter(arrays, lengths)
        except TypeError:
            if not any(isinstance(leaf, Symbol) for leaf in flat(arrays)):
                raise
            return apply(self, *arrays, lengths=lengths)
        try:
            outputs = self._steps().run(values, found)
        except ValueError as error:  # the values are used up by then
            raise self.graph.located(error, self._enter(arrays, lengths)[0]) from None
        return outputs if padding is None else self._cleared(outputs, padding)

    def forward(self, *arrays: Any, lengths: Any = None) -> tuple[Any, Callable[..., Any]]:
        """The outputs, and backward; see the class."""
        values, found, padding, sizes = self._enter(arrays, lengths)
        ids = [value.copy() if value.dtype.kind in "iu" else value for value in values]
        try:
            outputs, entries = self._steps().train(ids, found)
        except ValueError as error:
            raise self.graph.located(error, values) from None
        tape = Tape(entries)
        if padding is not None:
            outputs = self._cleared(outputs, padding)

        def backward(*douts: Any, need_dx: bool = True) -> Any:
            return self._backward(tape, douts, sizes, padding, need_dx)

        return outputs, backward

    def _steps(self) -> GraphPlan:
        plan = self._plan
        if plan is None:
            self._plan = plan = GraphPlan(self.graph)
        return plan

    def _enter(self, arrays: tuple[Any, ...], lengths: Any) -> tuple[list[Any], Lengths, Paddings | None, Sizes]:
        """The inputs and lengths, checked; what to clear, None for nothing; the sizes of variable axes."""
        values = arranged(self._names, arrays, f"{self.name or 'the model'}'s call")
        sizes = sizes_of(self.graph.input_names, values, self._specs)
        if lengths is None:
            return values, {}, None, sizes
        found = check_all_lengths(lengths, self._time_axes, sizes)
        if not found:
            return values, found, None, sizes
        padding = Paddings(found, sizes)
        for i, dirty in enumerate(self._dirty_inputs):
            if dirty:
                values[i] = padding.filled(values[i], self._specs[i])
        return values, found, padding, sizes

    def _cleared(self, outputs: Nest, padding: Paddings) -> Nest:
        """The outputs with zeros in the padding."""
        return mapped(
            outputs,
            lambda value, spec, clean: value if clean else padding.cleared(value, spec),
            self._output_specs,
            self._clean,
        )

    def _backward(self, tape: Tape, douts: tuple[Any, ...], sizes: Sizes, padding: Paddings | None, need_dx: bool) -> Any:
        checked = arranged(self._gradient_names, douts, "backward")
        for i, (symbol, gradient) in enumerate(zip(self.graph.flat_outputs, checked, strict=True)):
            shape = shape_of(symbol.spec, sizes)
            if gradient is not None and shape is not None and not fits(gradient, shape, symbol.dtype):
                array(f"d{self.graph.symbol_names[symbol]}", gradient, shape, symbol.dtype, symbol.spec.axes)
            checked[i] = gradient if padding is None else padding.cleared(gradient, symbol.spec)
        plan = self._steps()
        sums = tape.backward(plan.output_numbers, checked, need_dx)
        if not need_dx:
            return None if isinstance(self.graph.inputs, Symbol) else mapped(self.graph.inputs, lambda _: None)
        return self._input_gradients(sums.take(plan.input_numbers), sizes, padding)

    def _input_gradients(self, gradients: Nest, sizes: Sizes, padding: Paddings | None) -> Nest:
        """dinputs: zeros where nothing came, None for ids."""

        def finished(gradient: Array | None, spec: Spec) -> Array | None:
            if spec.dtype == "int64":
                return None
            if gradient is None:
                shape = shape_of(spec, sizes)
                assert shape is not None  # an input's letters are all known
                return np.zeros(shape, spec.dtype)
            return gradient if padding is None else padding.cleared(gradient, spec)

        return zipped(gradients, self._input_specs, finished)

    def not_streaming(self) -> str | None:
        """Why it cannot be run chunk by chunk, None if it can."""
        try:
            self._streaming()
        except ValueError as error:
            return str(error)
        return None

    def streamed_axis(self, inputs: tuple[Nest, ...]) -> Axis:
        """The axis of these inputs' specs along which :meth:`stream` goes on."""
        return self._bound(inputs)[self._streaming().axis]

    def _streaming(self) -> GraphStream:
        stream = self._stream
        if stream is None:
            self._stream = stream = GraphStream(self.graph, self._steps())
        return stream

    def _required_stream(self) -> GraphStream:
        if self._stream is None:
            self.require_streaming()
        return self._streaming()

    def stream(self, *inputs: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """``outputs, state`` for the next chunk of time: chunk after chunk the same as the whole sequence at once.

        The time axis that is streamed is that of the outputs (that of the inputs where they have none); ``inputs`` are as
        for the call, ``[T, B, ...]`` with any T along it. ``state`` is what the last chunk gave, a nest of arrays; None at
        the start; outputs that do not change with time may be part of it, so write to neither. Inputs without the streamed
        axis (an encoder's source, features without time) count in the first chunk, and may be None after it. With one
        input, the state may be the second argument. An output without a time axis, such as a final state, is that of the
        sequence so far. ``lengths`` are those of the chunk, in 0..T: 0 for a sequence that has ended, whose outputs without
        a time axis stay as they were. Raises ValueError, naming the layer and saying why, for a model that cannot be
        streamed; else as the call.
        """
        return self._run_stream(self._required_stream(), inputs, state, lengths, self._specs)

    def step(self, *inputs: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """``outputs, state`` of one time step: as :meth:`stream`, but of arrays without the streamed time axis.

        So ``y_t, state = model.step(x_t, state)`` takes x_t ``[B, I]`` or ids ``[B]``. ``lengths`` are of other time axes.
        """
        stream = self._required_stream()
        outputs, state = self._run_stream(stream, inputs, state, lengths, stream.step_specs)
        one = mapped(outputs, lambda y, spec: y[0] if spec.time == stream.axis else y, self._output_specs)
        return one, state

    def _run_stream(self, stream: GraphStream, inputs: Any, state: Any, lengths: Any, specs: list[Spec]) -> tuple[Any, Any]:
        """Arrays of these specs, where a time axis that is missing in them is one step."""
        if len(inputs) == 2 and state is None and not isinstance(self._names, tuple):
            inputs, state = inputs[:1], inputs[1]
        values = arranged(self._names, inputs, "the model")
        sizes: Sizes = {}
        for i, (name, spec) in enumerate(zip(self.graph.input_names, specs, strict=True)):
            if stream.still_inputs[i] and state is not None:
                values[i] = None
                continue
            check_array(name, values[i], spec, sizes)
            if spec is not self._specs[i]:
                values[i] = values[i][None]
        axes = [axis for axis in self._time_axes if axis in sizes]
        if isinstance(lengths, Mapping):  # those of an input that was only needed in the first chunk may still be there
            past = {axis for axis in self._time_axes if axis not in sizes and axis != stream.axis}
            lengths = {axis: value for axis, value in lengths.items() if axis not in past} or None
        found = check_all_lengths(lengths, axes, sizes)
        padding = Paddings(found, sizes) if found else None
        if padding is not None:
            values = [padding.filled(value, spec) for value, spec in zip(values, self._specs, strict=True)]
        try:
            outputs, state = stream.run(values, state, found)
        except ValueError as error:
            raise self.graph.located(error, values) from None
        return outputs if padding is None else self._cleared(outputs, padding), state

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """The outputs' specs: the letters of this model's inputs stand for the axes that are given here."""
        bound = self._bound(inputs)

        def in_this(spec: Spec) -> Spec:
            return Spec(tuple(renamed(axis, bound) for axis in spec.shape), spec.dtype)

        return mapped(self._output_specs, in_this)

    def _bound(self, inputs: tuple[Nest, ...]) -> dict[Axis, Axis]:
        """What this model's letters stand for when it is called on symbols. Raises TypeError or ValueError."""
        given = arranged(self._names, inputs, "the model")
        bound: dict[Axis, Axis] = {}
        for name, spec, wanted in zip(self.graph.input_names, given, self._specs, strict=True):
            if spec is None:
                raise TypeError(f"{name} must be a Symbol, got None")
            if not spec.fits(wanted, bound):
                raise ValueError(f"{name} must be {wanted}, got {spec}")
        return bound

    def pick_lengths(self, inputs: Nest, lengths: Mapping[Axis, Any]) -> Any:
        """The lengths of this model's own time axes; see :meth:`Layer.pick_lengths`."""
        bound = self._bound(tuple(inputs))
        found = {axis: lengths_of(bound[axis], lengths) for axis in self._time_axes}
        return {axis: of_axis for axis, of_axis in found.items() if of_axis is not None} or None

    def lengths_after(self, lengths: Any) -> Any:
        """The lengths of its first output, from those of its one input; see :meth:`Layer.lengths_after`."""
        return lengths_of(next(flat(self._output_specs)).time, dict.fromkeys(self._time_axes, lengths))
