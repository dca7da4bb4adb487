"""``RNN``, ``GRU`` and ``LSTM``: torch's modules on fastrnn's kernels, with the options that torch lacks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .._core import checks
from ._recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(Recurrent):
    """``torch.nn.RNN`` (Elman 1990): ``h_t = f(W x_t + b_ih + R h_{t-1} + b_hh)`` with f tanh or relu.

    Parameters
    ----------
    input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional, device, dtype
        as in ``torch.nn.RNN``.
    """

    torchs_own = nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.nonlinearity = checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        options = {"bias": bias, "batch_first": batch_first, "dropout": dropout, "bidirectional": bidirectional}
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(mode, input_size, hidden_size, num_layers, **options, device=device, dtype=dtype)  # type: ignore[arg-type]


class GRU(Recurrent):
    """``torch.nn.GRU`` (Cho et al. 2014) with gates r z n: ``h_t = (1-z) n + z h_{t-1}``.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype
        as in ``torch.nn.GRU``.
    reset_after
        True: ``n = tanh(p_n + r (q_n + b_hn))``, as in torch. False: ``n = tanh(p_n + R_n (r h_{t-1}) + b_hn)``, as in the
        paper.
    reset_gate
        False leaves r out: the gates are z n, and ``n = tanh(p_n + q_n + b_hn)``.
    """

    torchs_own = nn.GRU
    reset_after = reset_gate = True  # also for a module that accelerate() has switched

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
        reset_gate: bool = True,
    ) -> None:
        options = {"bias": bias, "batch_first": batch_first, "dropout": dropout, "bidirectional": bidirectional}
        super().__init__("GRU", input_size, hidden_size, num_layers, **options, device=device, dtype=dtype)  # type: ignore[arg-type]
        self.reset_after = checks.flag("reset_after", reset_after)
        self.reset_gate = checks.flag("reset_gate", reset_gate)
        if not reset_gate:
            leave_out_reset_gate(self)
            self._init_flat_weights()

    @property
    def cell(self) -> str:
        """Name of the cell as the ops take it."""
        return "GRU_NO_RESET" if not self.reset_gate else "GRU" if self.reset_after else "GRU_RESET_BEFORE"

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        return super().extra_repr() + "".join(f", {o}=False" for o in ("reset_after", "reset_gate") if not getattr(self, o))


class LSTM(Recurrent):
    """``torch.nn.LSTM`` (Hochreiter & Schmidhuber 1997; Gers et al. 2000) with gates i f g o.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        as in ``torch.nn.LSTM``.
    peephole
        i and f also read ``c_{t-1}``, and o reads ``c_t`` (Gers et al. 2002), with weights ``weight_ch_l0 [3*H]`` (i f o).
    """

    torchs_own = nn.LSTM
    has_c = True
    peephole = False  # also for a module that accelerate() has switched
    get_expected_cell_size = nn.LSTM.get_expected_cell_size
    check_forward_args = nn.LSTM.check_forward_args  # type: ignore[assignment]
    permute_hidden = nn.LSTM.permute_hidden  # type: ignore[assignment]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        peephole: bool = False,
    ) -> None:
        options = {"bias": bias, "batch_first": batch_first, "dropout": dropout, "bidirectional": bidirectional}
        options |= {"proj_size": proj_size, "device": device, "dtype": dtype}
        super().__init__("LSTM", input_size, hidden_size, num_layers, **options)  # type: ignore[arg-type]
        self.peephole = checks.flag("peephole", peephole)
        if peephole:
            for names in self._all_weights:
                names.append(names[0].replace("weight_ih", "weight_ch"))
                self.register_parameter(names[-1], nn.Parameter(torch.empty(3 * hidden_size, device=device, dtype=dtype)))
            self._flat_weights_names = [name for names in self._all_weights for name in names]
            self._init_flat_weights()
            self.reset_parameters()

    @property
    def cell(self) -> str:
        """Name of the cell as the ops take it."""
        return "LSTM_PEEPHOLE" if self.peephole else "LSTM"

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        return super().extra_repr() + (", peephole=True" if self.peephole else "")


def leave_out_reset_gate(module: nn.RNNBase | nn.RNNCellBase) -> None:
    """Give a GRU's parameters two gates, z and n, instead of three, with new initial values."""
    for name, parameter in list(module.named_parameters()):
        setattr(module, name, nn.Parameter(parameter.new_empty(2 * module.hidden_size, *parameter.shape[1:])))
    module.reset_parameters()


for _class in (RNN, GRU, LSTM):
    _class.__module__ = "fastrnn.torch"  # the public place, under which torch.save stores the class
