"""RNNCell, GRUCell and LSTMCell, each for one time step, with torch.nn's constructors and parameter names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack, get_type_hints

import numpy as np

from ... import init
from ..._core import checks
from ..._core.arrays import Array
from ..._core.parameter import Parameter
from ...backends.structs import Inputs, OutputGradients, StackSpec
from .._symbolic.symbols import Symbol, apply, takes_symbols
from .axis_order import HALVES, pair
from .inputs import is_ids
from .options import CellOptions
from .part import Part, PartsLayer, shown_options
from .part_stack import PartStack

Backward = Callable[[Any], tuple[Array | None, Any]]


class RecurrentCell(PartsLayer):
    """Base class of the three cells.

    Inference is ``state = cell(x, state=None)``. Training is ``state, backward = cell.forward(x, state)`` and then,
    once, ``dx, dstate = backward(dstate_next)``, which adds into the parameters' gradients. The state is ``h [B, H]``
    for RNN and GRU and ``(h, c)``, each ``[B, H]``, for LSTM; None is zeros. ``x`` is ``[B, I]`` of the cell's dtype
    or integer token ids ``[B]``, whose dx is None. Unbatched, x is ``[I]`` or one id, and the state has no B. B may be 0.
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape or value, RuntimeError for a second backward or
    one after the parameters have changed.
    """

    one_gradient = True
    none_is_zero = True
    shared_options = tuple(get_type_hints(CellOptions))
    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter
    bias_hh: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
        backend: str | None = None,
        precision: str | None = None,
        forget_bias: float | None = None,
        cell_options: Mapping[str, Any],
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, backend, precision, cell_options)
        spec = self._cell_spec()
        part = Part.drawn(spec, self.bias, "", init.generator(rng), forget_bias)
        self._name_parts({"": part})
        self._stack = PartStack(StackSpec(spec, precision=self.precision), [part])

    @takes_symbols
    def __call__(self, x: Array, state: Any = None) -> Any:
        """Run inference and return the next state. See the class for shapes and errors."""
        try:
            batched, inputs = self._check_inputs(x, state)
        except TypeError:
            if not isinstance(x, Symbol):
                raise
            return apply(self, x, state)
        out = self._stack.infer(self.backend, inputs)
        return self._pack_state(out.h_n, out.c_n, batched)

    def forward(self, x: Array, state: Any = None) -> tuple[Any, Backward]:
        """Run the forward pass of training: the next state and backward. See the class for shapes and errors."""
        batched, inputs = self._check_inputs(x, state)
        if is_ids(inputs.x):
            inputs = inputs._replace(x=inputs.x.copy())  # backward indexes with it and the caller may change x
        out, tape = self._stack.train(self.backend, inputs)
        B = inputs.x.shape[1]

        def backward(dstate: Any) -> tuple[Array | None, Any]:
            dh_n, dc_n = self._check_state("dstate", dstate, B, batched)
            tape.require_usable()
            with self._lock:
                dx, dh0, dc0 = self._stack.backward(tape, OutputGradients(None, dh_n, dc_n))
            if dx is not None:
                dx = dx[0] if batched else dx[0, 0]
            return dx, self._pack_state(dh0, dc0, batched)

        return self._pack_state(out.h_n, out.c_n, batched), backward

    def _check_inputs(self, x: Array, state: Any) -> tuple[bool, Inputs]:
        """Return whether x has a batch axis, and the validated inputs in the kernels' layout, with T = 1."""
        if isinstance(x, (int, np.integer)):
            x = np.asarray(x)
        batched = self._check_x(x)
        x = x[None] if batched else x[None, None]
        if not x.flags.c_contiguous:
            x = checks.plain(x)
        if x.ndim == 2:
            x = checks.ids(x, self.input_size).astype(np.int64, copy=False)
        h0, c0 = self._check_state("state", state, x.shape[1], batched)
        return batched, Inputs(x, h0, c0)

    def _check_x(self, x: Array) -> bool:
        """Return whether x has a batch axis. Raises TypeError or ValueError, but does not check the values of ids."""
        if isinstance(x, np.ndarray):
            ndim = x.ndim
            if x.dtype == self._dtype:
                if (ndim == 2 or ndim == 1) and x.shape[-1] == self.input_size:
                    return ndim == 2
            elif ndim <= 1 and is_ids(x):
                return ndim == 1
        right_type = isinstance(x, np.ndarray) and (is_ids(x) or x.dtype == self.dtype)
        raise (ValueError if right_type else TypeError)(
            f"x must be a {self.dtype} array of shape [B, I={self.input_size}] or [I={self.input_size}], "
            f"or integer token ids [B] or one id, got {checks.describe(x)}{checks.dtype_hint('x', x, self.dtype)}"
        )

    def _check_state(self, name: str, state: Any, B: int, batched: bool) -> tuple[Array | None, Array | None]:
        """Return h and c as ``[1, B, H]``; None is zeros. Raises TypeError or ValueError."""
        if state is None:
            return None, None
        if self.cell != "lstm":
            return self._check_half(name, state, B, batched), None
        h, c = pair(name, state)
        h_name, c_name = HALVES[name]
        return self._check_half(h_name, h, B, batched), self._check_half(c_name, c, B, batched)

    def _check_half(self, name: str, value: Any, B: int, batched: bool) -> Array | None:
        if value is None:
            return None
        if batched:
            # The usual case needs no function call.
            if type(value) is np.ndarray and value.shape == (B, self.hidden_size) and value.dtype == self._dtype:
                return value[None] if value.flags.c_contiguous else checks.plain(value)[None]
            return checks.array(name, value, (B, self.hidden_size), self._dtype, "[B, H]")[None]
        return checks.array(name, value, (self.hidden_size,), self._dtype, "[H]")[None, None]

    def _pack_state(self, h: Array, c: Array | None, batched: bool) -> Any:
        place = 0 if batched else (0, 0)
        return h[place] if c is None else (h[place], c[place])

    def extra_repr(self) -> str:
        """Return the options as torch shows them, then those that torch lacks if they are not the default."""
        return shown_options(self.input_size, self.hidden_size, {"bias": self.bias} | self._cell_options)


class RNNCell(RecurrentCell):
    """Elman RNN cell, torch.nn.RNNCell: ``h' = f(W x + b_ih + R h + b_hh)``, f tanh or relu. See :class:`RecurrentCell`."""

    cell = "rnn"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        **options: Unpack[CellOptions],
    ) -> None:
        self.nonlinearity = checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, bias, cell_options={"nonlinearity": self.nonlinearity}, **options)


class GRUCell(RecurrentCell):
    """Gated recurrent unit, torch.nn.GRUCell with the options of :class:`fastrnn.GRU`. See :class:`RecurrentCell`."""

    cell = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        reset_gate: bool = True,
        **options: Unpack[CellOptions],
    ) -> None:
        self.reset_after = checks.flag("reset_after", reset_after)
        self.reset_gate = checks.flag("reset_gate", reset_gate)
        cell = {"reset_after": self.reset_after, "reset_gate": self.reset_gate}
        super().__init__(input_size, hidden_size, bias, cell_options=cell, **options)


class LSTMCell(RecurrentCell):
    """Long short-term memory, torch.nn.LSTMCell with peephole and forget_bias of :class:`fastrnn.LSTM`.

    See :class:`RecurrentCell`; the state is ``(h, c)``, and either half of ``dstate`` may be None for zero.
    """

    cell = "lstm"
    weight_ch: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        peephole: bool = False,
        forget_bias: float | None = None,
        **options: Unpack[CellOptions],
    ) -> None:
        self.peephole = checks.flag("peephole", peephole)
        cell = {"peephole": self.peephole}
        super().__init__(input_size, hidden_size, bias, cell_options=cell, forget_bias=forget_bias, **options)
        self.forget_bias = None if forget_bias is None else float(forget_bias)
