"""The choice of what runs a call: the kernels directly, the op, or torch's own operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.autograd import forward_ad

from . import _kernels
from ._autograd import apply
from ._kernels import StackInputs
from ._stack import Stack

KERNELS, OP = "kernels", "op"
TRANSFORM = "a transform of torch.func"
_PLAIN = frozenset((Tensor, torch.nn.Parameter, type(None)))  # a tensor of another class may have no memory of its own
_DTYPES = (torch.float32, torch.float64)
_transform = torch._C._functorch.peek_interpreter_stack
_modes = torch._C._len_torch_dispatch_stack
_tracing = torch._C._get_tracing_state
_autocast = torch._C._is_any_autocast_enabled


def route_of(x: Tensor) -> str:
    """Return ``KERNELS``, ``OP``, or the reason why neither can take a call with this input."""
    if torch.compiler.is_compiling():
        return OP if x.is_cpu and x.dtype in _DTYPES else _reason(x)
    watched = _transform() is not None or _modes() or _tracing() is not None or _autocast()
    if not watched and forward_ad._current_level < 0 and type(x) in _PLAIN and x.is_cpu and x.dtype in _DTYPES:
        return KERNELS
    return _reason(x) or OP


def _reason(x: Tensor) -> str:
    if not (x.is_cpu or x.is_meta):
        return f"device {x.device.type}"
    if x.dtype not in _DTYPES and not torch.is_autocast_enabled("cpu"):
        return f"dtype {str(x.dtype).removeprefix('torch.')}"
    if torch.compiler.is_compiling():
        return ""
    if _transform() is not None:
        return TRANSFORM
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation"
    return "torch.jit.trace" if _tracing() is not None else ""


def apart_from_graphs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that torch.compile cannot trace well: with NumPy, or torch's layers, which it unrolls over time.

    A compiled model calls the function between two graphs. Exporters trace it, because they need one graph.
    """
    apart = _disable_dynamo(function)

    @wraps(function)
    def call(*args: Any) -> Any:
        compiles = torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting()
        return (apart if compiles else function)(*args)

    return call


def run(stack: Stack, inputs: StackInputs, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return ``y, h_n, c_n`` of a stack; c_n for LSTM only. The op runs for subclasses of Tensor, which may intercept it."""
    if not _PLAIN.issuperset(map(type, (inputs.h0, inputs.c0, *weights))):
        return run_op(stack.cell, stack.spec.layers, stack.spec.directions, inputs, weights)
    if not _trains(inputs, weights):
        return _kernels.infer(stack, inputs, weights)
    x, h0, c0, lengths, rows = inputs
    outputs = apply(stack, lengths, rows, x, h0, c0, *weights)
    return outputs if stack.has_c else (*outputs, None)


def run_op(
    cell: str, layers: int, directions: int, inputs: StackInputs, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return ``y, h_n, c_n`` of a stack by the op; c_n for LSTM only."""
    x, h0, c0, lengths, rows = inputs
    if isinstance(lengths, np.ndarray):
        lengths = torch.from_numpy(lengths)
    training = _trains(inputs, weights)
    y, h_n, c_n, _ = torch.ops.fastrnn.stack(x, h0, c0, lengths, weights, cell, layers, directions, rows, training)
    return y, h_n, c_n if cell.startswith("LSTM") else None


def _trains(inputs: StackInputs, weights: Sequence[Tensor]) -> bool:
    """Return whether autograd wants a gradient of this call."""
    if not torch.is_grad_enabled():
        return False
    for weight in weights:
        if weight.requires_grad:
            return True
    return any(t is not None and t.requires_grad for t in inputs[:3])
