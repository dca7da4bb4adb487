"""The functional API's Model, a graph of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .._core.arrays import Array
from ..layers._recurrent.inputs import array
from ..layers._symbolic.symbols import Axis, Nest, Spec, Symbol, apply, flat, mapped, takes_symbols
from ..layers._symbolic.time_axes import lengths_of, renamed
from ..layers.base import Layer
from .calls import GraphPlan, Lengths
from .plan import Tape
from .presentation import Described
from .streaming import GraphStream
from .validation import Paddings, Sizes, arranged, check_all_lengths, check_array, fits, shape_of, sizes_of, zipped


class Model(Described):
    """The layers between input and output symbols, as one layer.

    ``inputs`` and ``outputs`` are a Symbol, or lists or tuples of them, which may be nested: ``(y, (h_n, c_n))``. Any symbol
    can be an input, even one inside another graph, so two models can share layers. Arrays have the symbols' order::

        x = Input(("T", "B", 64))
        y, h_n = GRU(64, 128)(x)
        model = Model(x, Linear(128, 10)(y))

        y = model(x, lengths=lengths)                         # inference stores nothing for backward
        y, backward = model.forward(x, lengths=lengths)       # training ...
        dx = backward(dy)                                     # ... adds into p.grad of every parameter

    Several inputs are several arguments. Several outputs are a tuple, and their gradients are several arguments of
    backward. A gradient may be None for zero; the gradient of ids is None. ``backward(dy, need_dx=False)`` leaves out the
    gradients of the inputs. backward can run once.

    ``lengths`` are integers ``[B]`` in 0..T, or ``{"T": ..., "S": ...}`` if there are several time axes; every layer that
    works along time receives them. Padding never affects the results: whatever the inputs hold there, outputs with a time
    axis are zero there, and their gradients are not read there.

    A layer's name is its ``name``, else its class's name in lower case, and its parameters' names begin with it. Raises
    TypeError if an input or output is not a Symbol. Raises ValueError if outputs depend on an Input that is not in
    ``inputs``, if no output depends on an input, and if two layers or inputs have the same name.

    Calls raise TypeError for a wrong type, dtype or number of arrays, ValueError for a wrong shape or wrong lengths.
    backward raises RuntimeError if it has run already or a parameter has changed. The gradients of later layers may have
    been added by then, so call ``zero_grad`` before the next backward.
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
        self._unclean_inputs = self._inputs_to_clear()
        self._plan: GraphPlan | None = None
        self._stream: GraphStream | None = None

    def _inputs_to_clear(self) -> list[bool]:
        """Return a flag for each input: True if its padding must be cleared, because some reader does not skip padding."""
        others = {
            symbol
            for node in self.graph.nodes
            for symbol in flat(node.args)
            if not node.layer.skips_padding or symbol.dtype == "int64"  # ids are validated, also in the padding
        }
        others.update(self.graph.flat_outputs)
        return [symbol in others for symbol in self.graph.flat_inputs]

    @property
    def inputs(self) -> Nest:
        """The input symbols of the model."""
        return self.graph.inputs

    @property
    def outputs(self) -> Nest:
        """The output symbols of the model."""
        return self.graph.outputs

    @property
    def reads_time(self) -> bool:  # type: ignore[override]
        """True if the first input has a time axis."""
        return bool(self._specs[0].sequence)

    @property
    def gives_time(self) -> bool:  # type: ignore[override]
        """True if the first output has a time axis."""
        return bool(next(flat(self._output_specs)).sequence)

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers by name, in the order of their first call."""
        return dict(self.graph.layers)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """Return the layers with their names."""
        return iter(self.graph.layers.items())

    @takes_symbols
    def __call__(self, *arrays: Any, lengths: Any = None) -> Any:
        """Return the outputs for arrays or symbols; see the class."""
        try:
            values, found, padding, _ = self._check_call(arrays, lengths)
        except TypeError:
            if not any(isinstance(leaf, Symbol) for leaf in flat(arrays)):
                raise
            return apply(self, *arrays, lengths=lengths)
        try:
            outputs = self._steps().run(values, found)
        except ValueError as error:  # the run has released its values, so get them again
            raise self.graph.located(error, self._check_call(arrays, lengths)[0]) from None
        return outputs if padding is None else self._cleared(outputs, padding)

    def forward(self, *arrays: Any, lengths: Any = None) -> tuple[Any, Callable[..., Any]]:
        """Return the outputs and backward; see the class."""
        values, found, padding, sizes = self._check_call(arrays, lengths)
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

    def _check_call(self, arrays: tuple[Any, ...], lengths: Any) -> tuple[list[Any], Lengths, Paddings | None, Sizes]:
        """Validate a call; returns the inputs, the lengths, the padding (None if there is none), and the sizes of axes."""
        values = arranged(self._names, arrays, f"{self.name or 'the model'}'s call")
        sizes = sizes_of(self.graph.input_names, values, self._specs)
        if lengths is None:
            return values, {}, None, sizes
        found = check_all_lengths(lengths, self._time_axes, sizes)
        if not found:
            return values, found, None, sizes
        padding = Paddings(found, sizes)
        for i, dirty in enumerate(self._unclean_inputs):
            if dirty:
                values[i] = padding.filled(values[i], self._specs[i])
        return values, found, padding, sizes

    def _cleared(self, outputs: Nest, padding: Paddings) -> Nest:
        """Return the outputs with zeros in the padding."""
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
        """Return the inputs' gradients: zeros for an input without one, None for ids."""

        def finished(gradient: Array | None, spec: Spec) -> Array | None:
            if spec.dtype == "int64":
                return None
            if gradient is None:
                shape = shape_of(spec, sizes)
                assert shape is not None  # the sizes of all axes of an input are known
                return np.zeros(shape, spec.dtype)
            return gradient if padding is None else padding.cleared(gradient, spec)

        return zipped(gradients, self._input_specs, finished)

    def not_streaming(self) -> str | None:
        """Return why the model cannot run chunk by chunk, or None if it can."""
        try:
            self._streaming()
        except ValueError as error:
            return str(error)
        return None

    def streamed_axis(self, inputs: tuple[Nest, ...]) -> Axis:
        """Return the axis in the specs of these inputs along which :meth:`stream` runs."""
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
        """Run the next chunk of time and return ``outputs, state``; all chunks give the same as the whole sequence at once.

        The model is streamed along the outputs' time axis, or along the inputs' if the outputs have none. An output without
        a time axis, such as a final state, is computed from the sequence so far.

        Parameters
        ----------
        inputs
            as for the call, with any length of the streamed axis. Inputs without that axis (an encoder's source, features
            without time) are read in the first chunk and may be None after it.
        state
            state from the last chunk, a nest of arrays; None at the start. With one input it may be the second argument.
            It may share arrays with the outputs, so do not write to either.
        lengths
            lengths within the chunk, each in 0..T: 0 for a finished sequence, whose outputs without a time axis no longer
            change.

        Raises
        ------
        ValueError
            for a model that cannot be streamed, with the layer and the reason; other errors are those of a call
        """
        return self._run_stream(self._required_stream(), inputs, state, lengths, self._specs)

    def step(self, *inputs: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Run one time step and return ``outputs, state``, as :meth:`stream` does for arrays without the streamed axis.

        So ``y_t, state = model.step(x_t, state)`` takes x_t ``[B, I]`` or ids ``[B]``. ``lengths`` are for other time axes.
        """
        stream = self._required_stream()
        outputs, state = self._run_stream(stream, inputs, state, lengths, stream.step_specs)
        one = mapped(outputs, lambda y, spec: y[0] if spec.time == stream.axis else y, self._output_specs)
        return one, state

    def _run_stream(self, stream: GraphStream, inputs: Any, state: Any, lengths: Any, specs: list[Spec]) -> tuple[Any, Any]:
        """Run a chunk on inputs of ``specs``; an input without its time axis is one step."""
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
        if isinstance(lengths, Mapping):  # it may still hold lengths of an input that only the first chunk needed
            past = {axis for axis in self._time_axes if axis not in sizes and axis != stream.axis}
            lengths = {axis: value for axis, value in lengths.items() if axis not in past} or None
        found = check_all_lengths(lengths, axes, sizes)
        of_still = stream.still_lengths(state, found)
        found |= {axis: column[:, 0] for axis, column in of_still.items()}
        padding = Paddings(found, sizes) if found else None
        if padding is not None:
            values = [padding.filled(value, spec) for value, spec in zip(values, self._specs, strict=True)]
        try:
            outputs, state = stream.run(values, state, found)
        except ValueError as error:
            raise self.graph.located(error, values) from None
        state = (*state, of_still) if of_still else state
        return outputs if padding is None else self._cleared(outputs, padding), state

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """Return the outputs' specs, with the axes of these inputs instead of the letters of this model's inputs."""
        bound = self._bound(inputs)

        def in_this(spec: Spec) -> Spec:
            return Spec(tuple(renamed(axis, bound) for axis in spec.shape), spec.dtype)

        return mapped(self._output_specs, in_this)

    def _bound(self, inputs: tuple[Nest, ...]) -> dict[Axis, Axis]:
        """Return the axis for each of this model's letters in a call on symbols. Raises TypeError or ValueError."""
        given = arranged(self._names, inputs, "the model")
        bound: dict[Axis, Axis] = {}
        for name, spec, wanted in zip(self.graph.input_names, given, self._specs, strict=True):
            if spec is None:
                raise TypeError(f"{name} must be a Symbol, got None")
            if not spec.fits(wanted, bound):
                raise ValueError(f"{name} must be {wanted}, got {spec}")
        return bound

    def pick_lengths(self, inputs: Nest, lengths: Mapping[Axis, Any]) -> Any:
        """Return the lengths of this model's own time axes; see :meth:`Layer.pick_lengths`."""
        bound = self._bound(tuple(inputs))
        found = {axis: lengths_of(bound[axis], lengths) for axis in self._time_axes}
        return {axis: of_axis for axis, of_axis in found.items() if of_axis is not None} or None

    def lengths_after(self, lengths: Any) -> Any:
        """Return the first output's lengths from the lengths of the only input; see :meth:`Layer.lengths_after`."""
        return lengths_of(next(flat(self._output_specs)).time, dict.fromkeys(self._time_axes, lengths))
