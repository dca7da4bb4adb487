"""Base class of RNN, GRU and LSTM: torch.nn's options and semantics for a stack of kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self, get_type_hints

import numpy as np

from ... import backends, init
from ..._core import checks, gradient_events
from ..._core.arrays import Array
from ..._core.cache import VERSION
from ..._core.parameter import Parameter
from ..._stack_validation import check_lengths
from ...backends.structs import Inputs, OutputGradients, Outputs, Plan, StackSpec
from .._symbolic.symbols import Nest, Spec, Symbol, apply, mapped, takes_symbols
from ..base import Layer
from .axis_order import HALVES, LAYOUTS, Layout, arranged, pair
from .compressed_part import CompressedPart
from .compressing import check_form, compressed
from .embedding_table import EmbeddedRecurrent, embedded
from .merge_and_dropout import MERGES, DroppedPart, MergeAndDropout
from .options import LayerOptions
from .part import Part, PartsLayer, shown_options
from .part_stack import PartStack, layers_backward, layers_forward
from .stepper import Stepper

# h for RNN and GRU, (h, c) for LSTM, as in torch.
State = Any
Backward = Callable[..., tuple[Array | None, State]]
RunBackward = Callable[[OutputGradients, bool], Any]  # on arrays in the kernels' layout

# Options for repr; arguments and attributes have the same names.
_OPTIONS = (
    *("num_layers", "bias", "batch_first", "dropout", "bidirectional"),
    *("merge", "input_dropout", "recurrent_dropout", "compression"),
)


class Recurrent(PartsLayer):
    """Base class of RNN, GRU and LSTM.

    Calling the layer runs inference: ``y, state = layer(x, state=None, lengths=None)``. Training runs ``(y, state),
    backward = layer.forward(x, state, lengths)`` and then, once, ``dx, dstate = backward(dy, dstate=None)``, which
    adds into ``p.grad`` of each parameter. Either gradient may be None for zero, and ``need_dx=False`` leaves dx out.
    x and the parameters must not change until backward has run.

    ``x``
        ``[T, B, I]``, with ``batch_first`` ``[B, T, I]``, unbatched ``[T, I]``, of the layer's dtype; or integer
        token ids ``[T, B]``, ``[B, T]``, ``[T]`` in -1..I-1, which stand for one-hot vectors (-1 for the zero vector)
        that are never built. The dx of ids is None.
    ``state``
        ``h [L*D, B, Y]`` for RNN and GRU, ``(h, c)`` with ``c [L*D, B, H]`` for LSTM; unbatched without B; None is
        zeros. Y is the projection size if there is one, else H. ``batch_first`` does not affect states, as in torch.
    ``lengths``
        integers ``[B]``, each 0..T, in any order; None is T for all. Past a sequence's length y is zero and dy is
        ignored. The final state is the one after the sequence's last step, and the reverse direction starts there. The
        final state of a sequence of length 0 is its initial one. T is at least 1, as in torch; B may be 0.
    ``y``
        ``[T, B, D*Y]``, laid out as x; with ``batch_first`` it is a view with swapped strides, as in torch.

    The remaining options are keyword-only. ``dtype`` is float32 or float64. ``rng``, a numpy Generator or a seed, draws the
    initial values from U(-1/sqrt(H), 1/sqrt(H)) as in torch, and the dropout masks (until :meth:`set_rng` sets another).
    ``backend`` names a backend; None is the one in use at each call. ``precision`` is that of the layer's products,
    ``"highest"``, ``"high"`` or ``"medium"``; None follows :func:`fastrnn.set_float32_matmul_precision`.

    ``merge``
        merge mode of the two directions' outputs, in each layer of the stack. ``"concat"``, torch's, concatenates them;
        ``"sum"``, ``"mul"`` and ``"average"`` combine them element by element, so y is ``[T, B, Y]`` and the next layer's
        I is Y. Final states and the cell states of all steps are not merged.
    ``input_dropout``
        probability of dropping a feature of each layer's input in training. Each call draws a mask ``[B, I]``, the same at
        all steps (Gal & Ghahramani 2016; :class:`fastrnn.VariationalDropout`). x must be vectors in training. Torch's
        ``dropout`` differs: it acts between layers, with a new mask at each step.
    ``recurrent_dropout``
        probability of dropping a feature of ``h_{t-1}`` before the recurrent product in training. Each call draws a mask m
        ``[Y]`` for each layer and direction, the same at all steps *and for all sequences of the batch*; Gal & Ghahramani
        draw one for each sequence. So it masks R's columns, ``(m * h) R^T = h (R * m)^T``, and costs the kernels nothing.
        The direct paths of a GRU (``z * h``) and an LSTM (``f * c``) are not masked.
    ``compression``
        None, or the form of the weights in a layer that :meth:`compress` returned, so that a file can describe it. A layer
        constructed with it has zeros for weights until it loads a file.

    Raises TypeError for a wrong type or dtype and ValueError for a wrong shape or value, naming the argument;
    RuntimeError for a second backward or one after the parameters have changed.
    """

    takes_lengths = skips_padding = carries_state = True
    none_is_zero = True
    takes_need_dx = True
    shared_options = tuple(get_type_hints(LayerOptions))
    # For type checkers: the first layer's parameters; layer k's end in _lk, its reverse direction's in _lk_reverse.
    weight_ih_l0: Parameter
    weight_hh_l0: Parameter
    bias_ih_l0: Parameter
    bias_hh_l0: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        merge: str = "concat",
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        compression: str | None = None,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
        backend: str | None = None,
        precision: str | None = None,
        forget_bias: float | None = None,
        cell_options: Mapping[str, Any],
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, backend, precision, cell_options)
        self.num_layers = checks.positive_int("num_layers", num_layers)
        self.batch_first = checks.flag("batch_first", batch_first)
        self.dropout = dropout
        self.bidirectional = checks.flag("bidirectional", bidirectional)
        self.merge = checks.choice("merge", merge, MERGES)
        if merge != "concat" and not bidirectional:
            raise ValueError(f"merge={merge!r} needs bidirectional=True: there is one direction and nothing to merge")
        self.input_dropout, self.recurrent_dropout = input_dropout, recurrent_dropout
        self.compression = compression
        if compression is not None:
            check_form(compression, self.dtype)
        self._layouts = LAYOUTS[self.batch_first]
        self._lstm = self.cell == "lstm"
        self._direct = not self.batch_first and self.merge == "concat"  # arrays are in the kernels' layout
        self.rng = init.generator(rng)
        if dropout and num_layers == 1:
            warnings.warn("dropout acts between layers: with num_layers=1 it does nothing", stacklevel=3)
        self._draw_parts(forget_bias)
        self._state_sizes = (self.stack.spec.parts, self.stack.spec.cell.output_size, self.hidden_size)  # L*D, Y, H
        self._embedded: EmbeddedRecurrent | None = None  # this layer fused with the embedding or one-hot layer before it

    def _draw_parts(self, forget_bias: float | None) -> None:
        """Make the parts, and the ``stack`` of all of them."""
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        cell = self._cell_spec()
        spec = StackSpec(cell, self.num_layers, len(suffixes), weights=self.compression or "full", precision=self.precision)
        above = spec.layer(1)
        if self.merge != "concat":
            above = replace(above, input_size=cell.output_size)
        assert self.rng is not None
        parts: dict[str, Part] = {}
        for layer in range(self.num_layers):
            for suffix in suffixes:
                name = f"_l{layer}{suffix}"
                own = above if layer else cell
                if self.compression is None:
                    parts[name] = Part.drawn(own, self.bias, name, self.rng, forget_bias)
                else:
                    parts[name] = CompressedPart.blank(own, self.bias, self.compression, name)
        self._name_parts(parts)
        self.stack = PartStack(spec, list(parts.values()))

    def compress(self, form: str) -> Self:
        """Return a layer for inference whose weight matrices take a half or a quarter of the memory.

        It runs like this layer, by call, :meth:`stream` and :meth:`stepper`, and training it raises RuntimeError. On one
        sequence, where a step is a stream of weights, it is faster. States stay float32. The C backend rounds inputs and
        states to 16 bits and multiplies int8 weights as integers, so batches are faster too.

        Parameters
        ----------
        form
            ``"bfloat16"`` rounds each weight to 8 significant bits. ``"int8"`` stores integers in -127..127 and a scale for
            each row, ``max|row| / 127``. Biases and peephole weights stay as they are.

        Raises
        ------
        ValueError
            For another form, a float64 layer, one that is compressed already, or NaN and infinity with int8.
        """
        return compressed(self, form)

    @property
    def drops(self) -> bool:
        """True if training draws dropout masks."""
        return bool(self.dropout or self.input_dropout or self.recurrent_dropout)

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction, in torch's order."""
        return [list(part.parameters.values()) for part in self.stack.parts]

    def plan(self, T: int, B: int) -> list[Plan]:
        """Return the plan for T steps of B sequences: backend, ISA, split, threads and precision of each part."""
        T, B = checks.positive_int("T", T), checks.positive_int("B", B)
        backend = backends.current(self.backend)
        stacks = [self.stack] if self.merge == "concat" else self.stack.layers()
        return [plan for stack in stacks for plan in backend.plan(stack.spec, T, B)]

    def stepper(self, state: State = None) -> Stepper:
        """Return a :class:`fastrnn.Stepper`, which runs one sequence step by step from ``state`` (None is zeros)."""
        return Stepper(self, state)

    @takes_symbols
    def __call__(self, x: Array, state: State = None, lengths: Any = None) -> tuple[Array, State]:
        """Run inference: ``y, state``. See the class for shapes and errors."""
        try:  # costs nothing for an array, unlike a test for a Symbol
            y, state = self._infer(x, state, lengths)
            return y, state
        except TypeError:
            if not isinstance(x, Symbol):
                raise
        y, state = apply(self, x, state, lengths=lengths)
        return y, state

    def forward(self, x: Array, state: State = None, lengths: Any = None) -> tuple[tuple[Array, State], Backward]:
        """Run the forward pass of training: ``(y, state), backward``. See the class for shapes and errors."""
        (y, state), backward = self._train(x, state, lengths)
        return (y, state), backward

    def infer(self, x: Spec, *state: Nest, **options: Any) -> Nest:
        """Return the specs of ``y, state`` for an x with a time axis and a batch axis. Raises ValueError for another x."""
        if x.shape[:1] != ("B",) if self.batch_first else not x.sequence:
            axes = "B, T" if self.batch_first else "T, B"
            raise ValueError(f"x must have the axes [{axes}, I={self.input_size}], or [{axes}] of token ids")
        return super().infer(x, *state, **options)

    def fused_with(self, before: Layer) -> EmbeddedRecurrent | None:
        """Fuse ``before`` with this layer if it looks up rows of ids; see :meth:`Layer.fused_with`."""
        return embedded(before, self)

    def not_streaming(self) -> str | None:
        """Return why the layer cannot run chunk by chunk, or None if it can."""
        return "bidirectional: its reverse direction starts at the end of the sequence" if self.bidirectional else None

    def stream(self, x: Array, state: State = None, lengths: Any = None) -> tuple[Any, State]:  # type: ignore[override]
        """Run the next chunk of time: ``(y, state), state``; see :meth:`Layer.stream`."""
        return self._stream_through(self, x, state, lengths)

    def _stream_through(self, run: Callable[..., Any], x: Array, state: State, lengths: Any) -> tuple[Any, State]:
        """Do :meth:`stream` with ``run`` instead of the layer's call; the returned state is a copy of the output's."""
        self.require_streaming()
        y, state = run(x, state, lengths)
        return (y, state), mapped(state, np.copy)

    def _infer(
        self, x: Array, state: State, lengths: Any, cell_states: bool = False, stack: PartStack | None = None
    ) -> tuple[Any, ...]:
        """Return y and the state, then c with ``cell_states``; ``stack`` runs instead of the layer's own if given."""
        if self._direct and lengths is None and not cell_states and stack is None:
            found = self._infer_repeated(x, state)
            if found is not None:
                return found
        stack = stack or self.stack
        layout, inputs = self._check_inputs(x, state, lengths, stack.spec.cell.input_size)
        if self.merge == "concat":
            out = stack.infer(self.backend, inputs, cell_states)
        else:
            options = MergeAndDropout(self.merge)
            out, _ = layers_forward(stack.layers(), self.backend, inputs, options, None, cell_states=cell_states)
        return self._pack_outputs(layout, out)

    def _infer_repeated(self, x: Array, state: State) -> tuple[Any, ...] | None:
        """Return the result of :meth:`_infer` if an earlier call had arrays of the same kind, else None.

        It is one long function because a small layer's step takes no longer than some forty lines of Python.
        """
        current, dtype, array = self.stack._prepared, self._dtype, np.ndarray
        if current is None or current.version is not VERSION.latest:
            return None
        if not (type(x) is array and x.ndim == 3 and x.dtype == dtype and x.flags.c_contiguous):
            return None
        sized = current.value.runs.get(x.shape)
        if sized is None:
            return None
        run, h_shape, c_shape = sized
        h = c = None
        if state is not None:
            if not self._lstm:
                h = state
            elif type(state) is tuple and len(state) == 2:
                h, c = state
                if not (type(c) is array and c.shape == c_shape and c.dtype == dtype and c.flags.c_contiguous):
                    return None
            if not (type(h) is array and h.shape == h_shape and h.dtype == dtype and h.flags.c_contiguous):
                return None
        y, h_n, c_n = run(x, h, c)
        return (y, h_n) if c_n is None else (y, (h_n, c_n))

    def _train(
        self, x: Array, state: State, lengths: Any, cell_states: bool = False, stack: PartStack | None = None
    ) -> tuple[tuple[Any, ...], Backward]:
        """Return the outputs, as :meth:`_infer` does, and backward."""
        if self.compression is not None:
            raise RuntimeError(f"a layer compressed to {self.compression} runs inference only: train the original layer")
        stack = stack or self.stack
        layout, inputs = self._check_inputs(x, state, lengths, stack.spec.cell.input_size)
        if inputs.x.ndim == 2:
            if self.input_dropout:
                raise ValueError("x must be vectors for input_dropout: ids go through an Embedding or a OneHot first")
            inputs = inputs._replace(x=inputs.x.copy())  # backward indexes with it and the caller may change x
        if self.recurrent_dropout:
            rng = self.rng
            assert rng is not None
            stack = stack.map_parts(lambda part: DroppedPart(part, self.recurrent_dropout, rng))
        by_layers = self.merge != "concat" or self.dropout or self.input_dropout or gradient_events.listening()
        run = self._train_layers if by_layers else self._train_stack
        out, run_backward = run(stack, inputs, cell_states)

        def backward(
            dy: Array | None = None, dstate: State = None, dc: Array | None = None, *, need_dx: bool = True
        ) -> tuple[Array | None, State]:
            if dc is not None and out.c is None:
                raise ValueError("dc needs a forward with return_cell_states=True")
            dy = layout.check_gradient("dy", dy, out.y, "D*Y")
            dc = layout.check_gradient("dc", dc, out.c, "D*H")
            dh_n, dc_n = self._check_state("dstate", dstate, out.y.shape[1], layout)
            dx, dh0, dc0 = run_backward(OutputGradients(dy, dh_n, dc_n, dc), need_dx)
            return None if dx is None else layout.outward(dx), layout.pack_state(dh0, dc0)

        return self._pack_outputs(layout, out), backward

    def _train_stack(self, stack: PartStack, inputs: Inputs, cell_states: bool) -> tuple[Outputs, RunBackward]:
        """Train all layers as one stack."""
        out, tape = stack.train(self.backend, inputs, cell_states)

        def backward(dout: OutputGradients, need_dx: bool) -> Any:
            tape.require_usable()
            with self._lock:
                return stack.backward(tape, dout, need_dx)

        return out, backward

    def _train_layers(self, stack: PartStack, inputs: Inputs, cell_states: bool) -> tuple[Outputs, RunBackward]:
        """Train layer by layer, with dropout between layers and merged directions."""
        options, layers = MergeAndDropout(self.merge, self.dropout, self.input_dropout), stack.layers()
        out, tapes = layers_forward(layers, self.backend, inputs, options, self.rng, training=True, cell_states=cell_states)

        def backward(dout: OutputGradients, need_dx: bool) -> Any:
            for tape, _, _ in tapes:
                tape.require_usable()
            with self._lock:
                return layers_backward(layers, tapes, dout, need_dx)

        return out, backward

    def _check_inputs(self, x: Array, state: State, lengths: Any, ids: int) -> tuple[Layout, Inputs]:
        """Return the layout of x, and the validated inputs in the kernels' layout; token ids must be below ``ids``."""
        layout, x = arranged(x, self.input_size, self._dtype, self._layouts)
        T, B = x.shape[:2]
        if x.ndim == 2:
            x = checks.ids(x, ids).astype(np.int64, copy=False)
        if lengths is not None:
            if not layout.batched:
                raise ValueError("lengths needs a batch: x is one sequence, without an axis B")
            lengths = check_lengths(lengths, T, B)
        h0, c0 = self._check_state("state", state, B, layout)
        return layout, Inputs(x, h0, c0, lengths)

    def _pack_outputs(self, layout: Layout, out: Outputs) -> tuple[Any, ...]:
        """Return the outputs in the caller's layout."""
        if layout.plain and out.c is None:
            return out.y, out.h_n if out.c_n is None else (out.h_n, out.c_n)
        y, state = layout.outward(out.y), layout.pack_state(out.h_n, out.c_n)
        return (y, state) if out.c is None else (y, state, layout.outward(out.c))

    def _check_state(self, name: str, state: State, B: int, layout: Layout) -> tuple[Array | None, Array | None]:
        """Return h and c as ``[L*D, B, ...]``; None is zeros. Raises TypeError or ValueError."""
        if state is None:
            return None, None
        count, Y, H = self._state_sizes
        dtype, lstm = self._dtype, self._lstm
        h, c = (state if type(state) is tuple and len(state) == 2 else pair(name, state)) if lstm else (state, None)
        h = layout.check_state(HALVES[name][0] if lstm else name, h, (count, B, Y), dtype, "[L*D, B, Y]")
        return h, layout.check_state(HALVES[name][1], c, (count, B, H), dtype, "[L*D, B, H]") if lstm else None

    def extra_repr(self) -> str:
        """Return the options as torch shows them, then those that torch lacks if they are not the default."""
        options = {name: getattr(self, name) for name in _OPTIONS} | self._cell_options
        return shown_options(self.input_size, self.hidden_size, options)
