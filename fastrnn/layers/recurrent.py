"""RNN, GRU and LSTM with torch.nn's constructors, and options that torch lacks."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

from .._core import checks
from .._core.arrays import Array
from .._core.parameter import Parameter
from ._recurrent.base import Backward, Recurrent
from ._recurrent.options import LayerOptions
from ._symbolic.symbols import Symbol, apply, takes_symbols


class RNN(Recurrent):
    """Elman RNN, torch.nn.RNN: ``h' = f(W x + b_ih + R h + b_hh)`` with f tanh or relu. See :class:`Recurrent`."""

    cell = "rnn"

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, **options: Unpack[LayerOptions],
    ) -> None:  # fmt: skip
        self.nonlinearity = checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        cell = {"nonlinearity": self.nonlinearity}
        stack = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *stack, cell_options=cell, **options)


class GRU(Recurrent):
    """Gated recurrent unit, torch.nn.GRU: gates r z n, ``h' = (1-z) n + z h``. See :class:`Recurrent`.

    ``reset_after=False`` applies the reset gate before the recurrent product, as in Cho et al. 2014. ``reset_gate=False``
    leaves the reset gate out (gates z n). Formulas: :func:`fastrnn.functional.gru_forward`.
    """

    cell = "gru"

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, *, reset_after: bool = True, reset_gate: bool = True,
        **options: Unpack[LayerOptions],
    ) -> None:  # fmt: skip
        self.reset_after = checks.flag("reset_after", reset_after)
        self.reset_gate = checks.flag("reset_gate", reset_gate)
        cell = {"reset_after": self.reset_after, "reset_gate": self.reset_gate}
        stack = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *stack, cell_options=cell, **options)


class LSTM(Recurrent):
    """Long short-term memory, torch.nn.LSTM: gates i f g o, state ``(h, c)``. See :class:`Recurrent`.

    ``proj_size=P`` projects h from H to P as in torch. ``peephole`` adds c to the gates i, f and o (weight_ch_l0 ``[3*H]``).
    ``forget_bias``, often 1 (Jozefowicz et al. 2015), is the initial bias of the forget gate: b_ih's part is set to it and
    b_hh's to zero. Formulas: :func:`fastrnn.functional.lstm_forward`.

    With ``return_cell_states`` the call and ``forward`` return ``y, state, c``. The array c ``[T, B, D*H]`` holds all cell
    states of the last layer and is laid out as y; ``backward(dy, dstate, dc)`` takes its gradient.
    """

    cell = "lstm"
    weight_hr_l0: Parameter
    weight_ch_l0: Parameter

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, *, peephole: bool = False,
        forget_bias: float | None = None, **options: Unpack[LayerOptions],
    ) -> None:  # fmt: skip
        self.proj_size = checks.positive_int("proj_size", proj_size, smallest=0)
        if self.proj_size >= checks.positive_int("hidden_size", hidden_size):
            raise ValueError(f"proj_size must be smaller than hidden_size = {hidden_size}, got {proj_size}")
        self.peephole = checks.flag("peephole", peephole)
        cell = {"proj_size": self.proj_size, "peephole": self.peephole}
        stack = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *stack, cell_options=cell, forget_bias=forget_bias, **options)
        self.forget_bias = None if forget_bias is None else float(forget_bias)

    @overload
    def __call__(
        self, x: Array, state: Any = None, lengths: Any = None, *, return_cell_states: Literal[False] = False
    ) -> tuple[Array, Any]: ...

    @overload
    def __call__(self, x: Array, state: Any = None, lengths: Any = None, *, return_cell_states: bool) -> tuple[Any, ...]: ...

    @takes_symbols
    def __call__(
        self, x: Array, state: Any = None, lengths: Any = None, *, return_cell_states: bool = False
    ) -> tuple[Any, ...]:
        """Run inference: ``y, (h, c)``, then c with ``return_cell_states``. See the class for shapes and errors."""
        wanted = return_cell_states is not False and checks.flag("return_cell_states", return_cell_states)
        try:
            return self._infer(x, state, lengths, wanted)
        except TypeError:
            if not isinstance(x, Symbol):
                raise
        outputs: tuple[Any, ...] = apply(self, x, state, lengths=lengths, return_cell_states=wanted)
        return outputs

    @overload
    def forward(
        self, x: Array, state: Any = None, lengths: Any = None, *, return_cell_states: Literal[False] = False
    ) -> tuple[tuple[Array, Any], Backward]: ...

    @overload
    def forward(
        self, x: Array, state: Any = None, lengths: Any = None, *, return_cell_states: bool
    ) -> tuple[tuple[Any, ...], Backward]: ...

    def forward(
        self, x: Array, state: Any = None, lengths: Any = None, *, return_cell_states: bool = False
    ) -> tuple[tuple[Any, ...], Backward]:
        """Run the forward pass of training: ``(y, (h, c)), backward`` or ``(y, (h, c), c_all), backward``. See the class."""
        wanted = checks.flag("return_cell_states", return_cell_states)
        return self._train(x, state, lengths, wanted)


KINDS: dict[str, type[Recurrent]] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


def recurrent_of_kind(
    kind: str, input_size: int, hidden_size: int, num_layers: int, dropout: float, **options: Any
) -> Recurrent:
    """Make the recurrent layers of a language model: ``kind`` is ``"rnn"``, ``"gru"`` or ``"lstm"``.

    ``dropout`` acts between layers, so a single layer has none. An LSTM's forget gate starts with a bias of 1 (Jozefowicz et
    al. 2015). Other options are the layer's.
    """
    if kind == "lstm":
        options["forget_bias"] = 1.0
    return KINDS[kind](input_size, hidden_size, num_layers, dropout=dropout if num_layers > 1 else 0.0, **options)
