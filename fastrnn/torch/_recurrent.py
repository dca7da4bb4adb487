"""The base class of the modules that take the place of ``torch.nn.RNN``, ``GRU`` and ``LSTM``.

It derives from ``nn.RNNBase``, not from ``nn.LSTM``, because torch.compile breaks its graph at each instance of torch's own
recurrent layers. Parameters, their names and their initial values are torch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .._core import checks
from .._stack_validation import check_batch_sizes, check_lengths
from ..backends.structs import PACKED, TIME_MAJOR
from ._dispatch import KERNELS, OP, TRANSFORM, apart_from_graphs, route_of, run, run_op
from ._fallback import differentiable, report_once, values_of
from ._kernels import StackInputs
from ._scripting import torchs_twin
from ._stack import TORCHS, Stack, stack

Outputs = tuple[Tensor, Tensor, Tensor | None]
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@apart_from_graphs
def _torchs_forward(module: Recurrent, input: Any, hx: Any) -> Any:
    return module.torchs_own.forward(module, input, hx)


@apart_from_graphs
def _lengths_of(batch_sizes: Tensor, N: int) -> Any:
    return check_batch_sizes(values_of(batch_sizes), N)


class Recurrent(nn.RNNBase):
    """Stacked recurrent layers of one cell, in one or two directions."""

    torchs_own: type[nn.RNNBase]
    has_c = False
    __prepare_scriptable__ = torchs_twin

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int, *, bidirectional: bool, **options: Any
    ) -> None:
        checks.flag("bidirectional", bidirectional)  # torch takes any value that is true
        super().__init__(mode, input_size, hidden_size, num_layers, bidirectional=bidirectional, **options)

    @property
    def cell(self) -> str:
        """Name of the cell as the ops take it."""
        return self.mode

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Run the layers over a batch of sequences, as torch's module of this name does.

        Parameters
        ----------
        input
            ``[T, B, I]``, ``[B, T, I]`` with ``batch_first``, ``[T, I]`` for one sequence, or a PackedSequence.
        hx
            initial state ``[L*D, B, Y]``, for an LSTM a pair ``(h_0, c_0)``; None is zeros. One sequence has no axis B.
        lengths
            integers ``[B]``, each 0..T, in any order, for a padded input. Past its length a sequence's output is zero; its
            final state is the state after its last step.

        Returns
        -------
        output, h_n
            as torch returns them; from an LSTM ``output, (h_n, c_n)``.

        Raises
        ------
        RuntimeError, ValueError
            for a wrong shape or dtype of the input or the state
        TypeError, ValueError
            for wrong lengths
        """
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else input
        if not isinstance(x, Tensor):
            raise TypeError(f"input must be a Tensor or a PackedSequence, got {type(x).__name__}")
        route = route_of(x)
        if route is not KERNELS and route is not OP:
            report_once(type(self).__name__, route)
            if lengths is None and self.cell in TORCHS and route is not TRANSFORM:  # torch's layers know no vmap
                found: tuple[Any, Any] = _torchs_forward(self, input, hx)
                return found
        if not packed:
            return self._forward_padded(route, x, hx, lengths)
        if lengths is not None:
            raise ValueError("lengths must be left out for a PackedSequence, which has its own")
        return self._forward_packed(route, input, hx)

    def _forward_packed(self, route: str, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, batch_sizes, order, back = packed
        if hx is None:
            self.check_input(data, batch_sizes)
            h = c = None
        else:
            hx = self.permute_hidden(hx, order)
            self.check_forward_args(data, hx, batch_sizes)
            h, c = self._halves(hx, data)
        lengths = _lengths_of(batch_sizes, len(data))
        y, h_n, c_n = self._run(route, StackInputs(data.contiguous(), h, c, lengths, PACKED), self._in_order())
        state = self.permute_hidden(h_n if c_n is None else (h_n, c_n), back)  # type: ignore[arg-type]
        return PackedSequence(y, batch_sizes, order, back), state

    def _forward_padded(self, route: str, x: Tensor, hx: Any, lengths: Any) -> tuple[Tensor, Any]:
        weights, axes = self._in_order(), x.dim()
        if axes not in (2, 3):
            raise ValueError(f"input must have 2 or 3 dimensions, got {axes}")
        h, c = (None, None) if hx is None else self._halves(hx, x)
        if axes == 2:
            x = x.unsqueeze(0 if self.batch_first else 1)
            if h is not None and h.dim() != 2:
                raise RuntimeError(f"hx must have 2 dimensions, as the input of one sequence has, got {h.dim()}")
            h, c = (None if s is None else s.unsqueeze(1) for s in (h, c))
        self._check(x, h, c, weights[0].dtype)
        if self.batch_first:  # y lies in memory time-major, as torch's does: dropout draws its masks in that order
            x = x.transpose(0, 1)
        if lengths is not None:
            lengths = self._lengths(route, x, lengths)
        y, h_n, c_n = self._run(route, StackInputs(x.contiguous(), h, c, lengths, TIME_MAJOR), weights)
        if axes == 2:
            y, h_n, c_n = y.squeeze(1), h_n.squeeze(1), None if c_n is None else c_n.squeeze(1)
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, h_n if c_n is None else (h_n, c_n)

    def _halves(self, hx: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return h and c of a state, contiguous. Raises TypeError or RuntimeError for another type, dtype or device."""
        states = hx if self.has_c else (hx,)
        if not isinstance(states, (tuple, list)) or len(states) != 1 + self.has_c:
            raise TypeError(f"hx must be a pair of tensors (h_0, c_0), got {type(hx).__name__}")
        for state in states:
            if not isinstance(state, Tensor):
                wanted = "a pair of tensors (h_0, c_0)" if self.has_c else "a tensor"
                raise TypeError(f"hx must be {wanted}, got {type(state).__name__}")
            if state.dtype != x.dtype and not torch.is_autocast_enabled("cpu"):
                raise RuntimeError(f"hx must have the dtype of the input, {x.dtype}, got {state.dtype}")
            if state.is_cpu is not x.is_cpu:
                raise RuntimeError(f"hx must be on the device of the input, {x.device}, got {state.device}")
        return states[0].contiguous(), states[1].contiguous() if self.has_c else None

    def _check(self, x: Tensor, h: Tensor | None, c: Tensor | None, dtype: torch.dtype) -> None:
        """Raise torch's errors for a wrong shape or dtype; the check of a valid call is quick."""
        shape, time_axis = x.shape, int(self.batch_first)
        if shape[2] != self.input_size or x.dtype != dtype:
            self.check_input(x, None)
        if shape[time_axis] == 0:
            raise RuntimeError("input must have at least one time step; for sequences without steps use lengths of 0")
        if h is None:
            return
        parts, B = self.num_layers * (1 + self.bidirectional), shape[1 - time_axis]
        if h.shape != (parts, B, self.proj_size or self.hidden_size) or (
            c is not None and c.shape != (parts, B, self.hidden_size)
        ):
            self.check_forward_args(x, h if c is None else (h, c), None)  # type: ignore[arg-type]

    def _lengths(self, route: str, x: Tensor, lengths: Any) -> Any:
        """Return the lengths as an array, or as a tensor for vmap and for the op, which validates them when it runs."""
        if route is not OP:
            values = values_of(lengths) if isinstance(lengths, Tensor) else lengths
            if not isinstance(lengths, Tensor) or values.ndim == lengths.ndim:
                return check_lengths(values, *x.shape[:2])
            check_lengths(values.ravel(), len(x), values.size)
            check_lengths(np.zeros(lengths.shape, int), *x.shape[:2])
            return lengths
        lengths = torch.as_tensor(lengths)
        if lengths.dtype not in _INTEGERS:
            raise TypeError(f"lengths must hold integers, got {lengths.dtype}")
        return lengths.to(torch.int64)

    def _in_order(self) -> list[Any]:
        """Return the parameters in the order of ``_flat_weights``, which misses those that torch.func swaps in."""
        own = self._parameters
        try:
            return [own[name] for name in self._flat_weights_names]
        except KeyError:  # a wrapper, such as weight_norm, has made one of them a plain attribute
            return [getattr(self, name) for name in self._flat_weights_names]

    def _run(self, route: str, inputs: StackInputs, weights: list[Tensor]) -> Outputs:
        """Run all layers at once, or one after the other with dropout in between."""
        dropout = self.dropout if self.training and self.num_layers > 1 else 0.0
        if route is not KERNELS and route is not OP:
            return differentiable(self._stack(self.num_layers, self.input_size, weights), inputs, weights, dropout)
        if dropout:
            return self._run_with_dropout(route, inputs, weights)
        return self._run_layers(route, self.num_layers, self.input_size, inputs, weights)

    def _run_layers(self, route: str, layers: int, input_size: int, inputs: StackInputs, weights: list[Tensor]) -> Outputs:
        if route is OP:  # compilers trace this line, so it looks up no stack
            return run_op(self.cell, layers, 1 + self.bidirectional, inputs, weights)
        return run(self._stack(layers, input_size, weights), inputs, weights)

    def _stack(self, layers: int, input_size: int, weights: list[Tensor]) -> Stack:
        sizes = input_size, self.hidden_size, self.proj_size
        return stack(self.cell, layers, 1 + self.bidirectional, *sizes, self.bias, weights[0].dtype)

    def _run_with_dropout(self, route: str, inputs: StackInputs, weights: list[Tensor]) -> Outputs:
        x, h, c, lengths, rows = inputs
        L, D, n = self.num_layers, 1 + self.bidirectional, len(weights) // self.num_layers
        finals: list[Any] = []
        for i in range(L):
            own = weights[i * n : (i + 1) * n]
            h_i, c_i = (None if s is None else s[i * D : (i + 1) * D] for s in (h, c))
            below = StackInputs(x, h_i, c_i, lengths, rows)
            x, *final = self._run_layers(route, 1, x.shape[-1], below, own)
            finals.append(final)
            if i < L - 1:
                x = nn.functional.dropout(x, self.dropout, True)
        h_n, c_n = (None if one[0] is None else torch.cat(one) for one in zip(*finals, strict=True))
        assert h_n is not None
        return x, h_n, c_n
