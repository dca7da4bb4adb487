"""``RNNCell``, ``GRUCell`` and ``LSTMCell``: torch's cells on fastrnn's kernels; a cell is a stack that runs one step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._core import checks
from ..backends.structs import TIME_MAJOR
from ._dispatch import KERNELS, OP, TRANSFORM, route_of, run, run_op
from ._fallback import differentiable, report_once
from ._kernels import StackInputs
from ._scripting import torchs_twin
from ._stack import TORCHS, stack_of
from .modules import GRU, LSTM, leave_out_reset_gate

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


class _Cell(nn.RNNCellBase):
    """Base class of the cells."""

    torchs_own: type[nn.RNNCellBase]
    has_c = False
    __prepare_scriptable__ = torchs_twin

    def __init__(self, input_size: int, hidden_size: int, bias: bool, gates: int, device: Any, dtype: Any) -> None:
        checks.positive_int("input_size", input_size)
        checks.positive_int("hidden_size", hidden_size)
        super().__init__(input_size, hidden_size, checks.flag("bias", bias), gates, device, dtype)

    @property
    def cell(self) -> str:
        """Name of the cell as the ops take it."""
        raise NotImplementedError

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Return the state after one step on ``input [B, I]`` or ``[I]``, as torch's cell of this name does.

        ``hx`` is the state before, ``[B, H]`` or ``[H]``, for an LSTM cell a pair ``(h, c)``; None is zeros. Raises
        RuntimeError or ValueError for a wrong shape or dtype.
        """
        if not isinstance(input, Tensor):
            raise TypeError(f"input must be a Tensor, got {type(input).__name__}")
        route = route_of(input)
        fall_back = route is not KERNELS and route is not OP
        if fall_back:
            report_once(type(self).__name__, route)
            if self.cell in TORCHS and route is not TRANSFORM:
                return self.torchs_own.forward(self, input, hx)
        if input.dim() not in (1, 2):
            raise ValueError(f"input must have 1 or 2 dimensions, got {input.dim()}")
        B = input.shape[0] if input.dim() == 2 else 1
        states = (hx, None) if hx is None or not self.has_c else hx
        if not isinstance(states, (tuple, list)) or len(states) != 2:
            raise TypeError(f"hx must be a pair of tensors (h, c), got {type(hx).__name__}")
        h, c = (None if s is None else self._state(input, s, B) for s in states)
        weights = self._in_order()
        self._check(input, weights[0])
        inputs = StackInputs(input.reshape(1, B, self.input_size).contiguous(), h, c, None, TIME_MAJOR)
        if route is OP:
            _, h_n, c_n = run_op(self.cell, 1, 1, inputs, weights)
        else:
            _, h_n, c_n = (differentiable if fall_back else run)(stack_of(self.cell, 1, 1, weights), inputs, weights)
        shape = (*input.shape[:-1], self.hidden_size)
        return h_n.reshape(shape) if c_n is None else (h_n.reshape(shape), c_n.reshape(shape))

    def _in_order(self) -> list[Tensor]:
        """Return the parameters in the order that the ops take."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_ch")
        return [p for p in (getattr(self, name, None) for name in names) if p is not None]

    def _check(self, x: Tensor, weight: Tensor) -> None:
        autocast = torch.is_autocast_enabled("cpu")
        if x.shape[-1] != self.input_size or (x.dtype != weight.dtype and not autocast):
            wanted = f"[B, I={self.input_size}] and {weight.dtype}"
            raise RuntimeError(f"input must be {wanted}, got {tuple(x.shape)} and {x.dtype}")

    def _state(self, x: Tensor, state: Any, B: int) -> Tensor:
        if not isinstance(state, Tensor):
            raise TypeError(f"hx must hold tensors, got {type(state).__name__}")
        wanted = (*x.shape[:-1], self.hidden_size)
        if state.shape != wanted or (state.dtype != x.dtype and not torch.is_autocast_enabled("cpu")):
            raise RuntimeError(f"hx must be {wanted} and {x.dtype}, got {tuple(state.shape)} and {state.dtype}")
        return state.reshape(1, B, self.hidden_size).contiguous()


class RNNCell(_Cell):
    """``torch.nn.RNNCell``: one step of an RNN, with torch's arguments."""

    torchs_own = nn.RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))

    @property
    def cell(self) -> str:
        """Name of the cell as the ops take it."""
        return f"RNN_{self.nonlinearity.upper()}"


class GRUCell(_Cell):
    """``torch.nn.GRUCell``: one step of a GRU, with torch's arguments and the options of :class:`GRU`."""

    torchs_own = nn.GRUCell
    reset_after = reset_gate = True  # also for a module that accelerate() has switched

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
        reset_gate: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)
        self.reset_after = checks.flag("reset_after", reset_after)
        self.reset_gate = checks.flag("reset_gate", reset_gate)
        if not reset_gate:
            leave_out_reset_gate(self)

    cell = GRU.cell


class LSTMCell(_Cell):
    """``torch.nn.LSTMCell``: one step of an LSTM, with torch's arguments and the option of :class:`LSTM`."""

    torchs_own = nn.LSTMCell
    has_c = True
    peephole = False  # also for a module that accelerate() has switched

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        peephole: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)
        self.peephole = checks.flag("peephole", peephole)
        if peephole:
            self.weight_ch = nn.Parameter(torch.empty(3 * hidden_size, device=device, dtype=dtype))
            self.reset_parameters()

    cell = LSTM.cell


for _class in (RNNCell, GRUCell, LSTMCell):
    _class.__module__ = "fastrnn.torch"  # the public place, under which torch.save stores the class
