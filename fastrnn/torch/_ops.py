"""The stack as ops of ``torch.library``, which ``torch.compile`` and ``torch.export`` put into a graph as one node each.

``fastrnn::stack`` and ``fastrnn::stack_backward`` are pure: backward works on a copy of the tape. In eager mode the modules
do not use them, because an op costs about 7 us a call.
"""

from __future__ import annotations

from collections.abc import Sequence
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

_CALL = "Tensor x, Tensor? h0, Tensor? c0, Tensor? lengths, Tensor[] weights, str cell, int layers, int directions, str rows"
_library = torch.library.Library("fastrnn", "DEF")
_library.define(f"stack({_CALL}, bool training) -> (Tensor y, Tensor h_n, Tensor c_n, Tensor tape)")
_library.define(
    f"stack_backward(Tensor? dy, Tensor? dh_n, Tensor? dc_n, Tensor tape, {_CALL})"
    " -> (Tensor dx, Tensor dh0, Tensor dc0, Tensor[] dweights)"
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


# The arguments of both ops that describe a call: x, h0, c0, lengths, weights, cell, layers, directions, rows.
Call = Sequence[Any]


def _stack_of(call: Call) -> Stack:
    weights, cell, layers, directions, _ = call[4:]
    return stack_of(cell, layers, directions, weights)


def _forward(*arguments: Any) -> tuple[Tensor, ...]:
    """Implement ``fastrnn::stack``."""
    *call, training = arguments
    x, h0, c0, lengths, weights, *_, rows = call
    stack, inputs = _stack_of(call), _inputs(x, h0, c0, lengths, rows)
    if training:
        # An op's outputs must have the same bytes in each run, also where the kernels write nothing.
        tape = torch.zeros(_tape_size(stack, x, lengths, rows), dtype=torch.uint8)
        (y, h_n, c_n), _ = _kernels.train(stack, inputs, weights, tape)
    else:
        (y, h_n, c_n), tape = _kernels.infer(stack, inputs, weights), torch.empty(0, dtype=torch.uint8)
    return y, h_n, x.new_empty(0) if c_n is None else c_n, tape


def _fake_forward(*arguments: Any) -> tuple[Tensor, ...]:
    """Return outputs of the right shapes without values. Raises RuntimeError for parameters on another device."""
    *call, training = arguments
    x, _, _, lengths, weights, *_, rows = call
    if elsewhere := {str(w.device) for w in weights if w.device != x.device}:
        raise RuntimeError(f"input must be on the device of the parameters, {elsewhere.pop()}, got {x.device}")
    stack = _stack_of(call)
    spec, parts, B = stack.spec.cell, stack.spec.parts, _places(x, lengths, rows)[1]
    y = x.new_empty(*x.shape[:-1], stack.spec.directions * spec.output_size)
    h_n = x.new_empty(parts, B, spec.output_size)
    c_n = x.new_empty(parts, B, spec.hidden_size) if stack.has_c else x.new_empty(0)
    size = _tape_size(stack, x, lengths, rows) if training else 0
    return y, h_n, c_n, x.new_empty(size, dtype=torch.uint8)


def _backward(dy: Tensor | None, dh_n: Tensor | None, dc_n: Tensor | None, tape: Tensor, *call: Any) -> tuple[Any, ...]:
    """Implement ``fastrnn::stack_backward``, on a copy of the tape because an op leaves its inputs as they are."""
    x, h0, c0, lengths, weights, *_, rows = call
    stack, inputs = _stack_of(call), _inputs(x, h0, c0, lengths, rows)
    gradients = [dy, dh_n, dc_n if stack.has_c else None]
    dx, dh0, dc0, dweights = _kernels.backward(stack, inputs, weights, tape.clone(), gradients, True)
    assert dx is not None
    return dx, dh0, x.new_empty(0) if dc0 is None else dc0, dweights


def _fake_backward(dy: Any, dh_n: Any, dc_n: Any, tape: Tensor, *call: Any) -> tuple[Any, ...]:
    """Return gradients of the right shapes without values."""
    x, weights = call[0], call[4]
    _, dh0, dc0, _ = _fake_forward(*call, False)
    return torch.empty_like(x, memory_format=torch.contiguous_format), dh0, dc0, [w.new_empty(w.shape) for w in weights]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, h0, c0, lengths, weights, *ctx.cell, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, h0, c0, lengths, output[3], *weights)


def _gradient(ctx: Any, dy: Tensor | None, dh_n: Tensor | None, dc_n: Tensor | None, dtape: None) -> tuple[Any, ...]:
    """Return the gradients of the op's arguments; with ``create_graph=True`` as differentiable functions."""
    x, h0, c0, lengths, tape, *weights = ctx.saved_tensors
    call = x, h0, c0, lengths, weights, *ctx.cell
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        inputs = _inputs(x, h0, c0, lengths, ctx.cell[-1])
        dx, dh0, dc0, *dweights = twice_differentiable(_stack_of(call), inputs, weights, (dy, dh_n, dc_n))
    else:
        dx, dh0, dc0, dweights = torch.ops.fastrnn.stack_backward(dy, dh_n, dc_n, tape, *call)
    states = None if h0 is None else dh0, None if c0 is None else dc0
    return dx, *states, None, dweights, *[None] * 5


_library.impl("stack", _forward, "CPU")
_library.impl("stack_backward", _backward, "CPU")
torch.library.register_fake("fastrnn::stack", _fake_forward, lib=_library)
torch.library.register_fake("fastrnn::stack_backward", _fake_backward, lib=_library)
torch.library.register_autograd("fastrnn::stack", _gradient, setup_context=_save, lib=_library)
torch.library.register_autocast("fastrnn::stack", "cpu", torch.float32, lib=_library)
