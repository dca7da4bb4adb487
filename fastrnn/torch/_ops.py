"""The stack as ops of ``torch.library``, which ``torch.compile`` and ``torch.export`` put into a graph as one node each.

``fastrnn::stack`` and ``fastrnn::stack_backward`` are pure: backward works on a copy of the tape. In eager mode the modules
go without them, because an op costs about 7 us a call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import backends
from .._core.arrays import Array
from .._stack_validation import check_lengths
from ..backends.structs import PACKED, TIME_MAJOR
from . import _kernels
from ._autograd import twice_differentiable
from ._kernels import StackInputs
from ._stack import Stack, stack_of

_CELL = "str cell, int layers, int directions, str rows"
_library = torch.library.Library("fastrnn", "DEF")
_library.define(
    f"stack(Tensor x, Tensor? h0, Tensor? c0, Tensor? lengths, Tensor[] weights, {_CELL}, bool training)"
    " -> (Tensor y, Tensor h_n, Tensor c_n, Tensor tape)"
)
_library.define(
    "stack_backward(Tensor? dy, Tensor? dh_n, Tensor? dc_n, Tensor x, Tensor? h0, Tensor? c0, Tensor? lengths,"
    f" Tensor[] weights, Tensor tape, {_CELL}) -> (Tensor dx, Tensor dh0, Tensor dc0, Tensor[] dweights)"
)


def _inputs(x: Tensor, h0: Tensor | None, c0: Tensor | None, lengths: Tensor | None, rows: str) -> StackInputs:
    """Return contiguous inputs. Raises ValueError for lengths out of range, which a traced call has not checked."""
    h0, c0 = (None if s is None else s.contiguous() for s in (h0, c0))
    checked = None if lengths is None else _checked(lengths.contiguous().numpy(), *_places(x, lengths, rows), rows)
    return StackInputs(x.contiguous(), h0, c0, checked, rows)


def _checked(lengths: Array, T: int, B: int, N: int, rows: str) -> Array | None:
    checked = check_lengths(lengths, T, B)
    if rows != PACKED:
        return checked
    if lengths.sum() != N or (np.diff(lengths) > 0).any():
        raise ValueError(f"lengths must not increase and must add up to the N = {N} rows of x, got {lengths.tolist()}")
    return lengths.astype(np.int64)


def _places(x: Tensor, lengths: Tensor | None, rows: str) -> tuple[Any, Any, Any]:
    """Return T, or a bound of it, B and the number of rows of x."""
    if rows == PACKED:
        assert lengths is not None
        return x.shape[0], lengths.shape[0], x.shape[0]
    T, B = x.shape[:2] if rows == TIME_MAJOR else (x.shape[1], x.shape[0])
    return T, B, T * B


def _tape_size(stack: Stack, x: Tensor, lengths: Tensor | None, rows: str) -> Any:
    T, B, N = _places(x, lengths, rows)
    fixed, per_step, per_sequence, per_row = backends.current(None).tape_size(stack.spec)
    return fixed + per_step * T + per_sequence * B + per_row * N


def _forward(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
    weights: list[Tensor],
    cell: str,
    layers: int,
    directions: int,
    rows: str,
    training: bool,
) -> tuple[Tensor, ...]:
    stack, inputs = stack_of(cell, layers, directions, weights), _inputs(x, h0, c0, lengths, rows)
    if training:
        # An op's outputs must have the same bytes in each run, also where the kernels write nothing.
        tape = torch.zeros(_tape_size(stack, x, lengths, rows), dtype=torch.uint8)
        (y, h_n, c_n), _ = _kernels.train(stack, inputs, weights, tape)
    else:
        (y, h_n, c_n), tape = _kernels.infer(stack, inputs, weights), torch.empty(0, dtype=torch.uint8)
    return y, h_n, x.new_empty(0) if c_n is None else c_n, tape


def _fake_forward(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
    weights: list[Tensor],
    cell: str,
    layers: int,
    directions: int,
    rows: str,
    training: bool,
) -> tuple[Tensor, ...]:
    stack = stack_of(cell, layers, directions, weights)
    spec = stack.spec.cell
    B = _places(x, lengths, rows)[1]
    y = x.new_empty(*x.shape[:-1], directions * spec.output_size)
    h_n = x.new_empty(layers * directions, B, spec.output_size)
    c_n = x.new_empty(layers * directions, B, spec.hidden_size) if stack.has_c else x.new_empty(0)
    size = _tape_size(stack, x, lengths, rows) if training else 0
    return y, h_n, c_n, x.new_empty(size, dtype=torch.uint8)


def _backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
    weights: list[Tensor],
    tape: Tensor,
    cell: str,
    layers: int,
    directions: int,
    rows: str,
) -> tuple[Any, ...]:
    stack, inputs = stack_of(cell, layers, directions, weights), _inputs(x, h0, c0, lengths, rows)
    gradients = [dy, dh_n, dc_n if stack.has_c else None]
    dx, dh0, dc0, dweights = _kernels.backward(stack, inputs, weights, tape.clone(), gradients, True)
    assert dx is not None
    return dx, dh0, x.new_empty(0) if dc0 is None else dc0, dweights


def _fake_backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
    weights: list[Tensor],
    tape: Tensor,
    cell: str,
    layers: int,
    directions: int,
    rows: str,
) -> tuple[Any, ...]:
    _, h_n, c_n, _ = _fake_forward(x, h0, c0, lengths, weights, cell, layers, directions, rows, False)
    return torch.empty_like(x, memory_format=torch.contiguous_format), h_n, c_n, [w.new_empty(w.shape) for w in weights]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, h0, c0, lengths, weights, *ctx.cell, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, h0, c0, lengths, output[3], *weights)


def _gradient(ctx: Any, dy: Tensor | None, dh_n: Tensor | None, dc_n: Tensor | None, dtape: None) -> tuple[Any, ...]:
    x, h0, c0, lengths, tape, *weights = ctx.saved_tensors
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        cell, layers, directions, rows = ctx.cell
        stack, inputs = stack_of(cell, layers, directions, weights), _inputs(x, h0, c0, lengths, rows)
        dx, dh0, dc0, *dweights = twice_differentiable(stack, inputs, weights, (dy, dh_n, dc_n))
    else:
        dx, dh0, dc0, dweights = torch.ops.fastrnn.stack_backward(
            dy, dh_n, dc_n, x, h0, c0, lengths, weights, tape, *ctx.cell
        )
    states = None if h0 is None else dh0, None if c0 is None else dc0
    return dx, *states, None, dweights, *[None] * 5


_library.impl("stack", _forward, "CPU")
_library.impl("stack_backward", _backward, "CPU")
torch.library.register_fake("fastrnn::stack", _fake_forward, lib=_library)
torch.library.register_fake("fastrnn::stack_backward", _fake_backward, lib=_library)
torch.library.register_autograd("fastrnn::stack", _gradient, setup_context=_save, lib=_library)
torch.library.register_autocast("fastrnn::stack", "cpu", torch.float32, lib=_library)
