"""One cell on Keras' PyTorch backend, differentiable."""

from __future__ import annotations

from typing import Any

import torch

from ... import torch as _  # noqa: F401 - defines the ops
from ..._stack_validation import check_lengths
from ...backends.structs import BATCH_MAJOR
from ...torch import _dispatch
from ...torch._kernels import StackInputs
from ...torch._stack import CELLS, stack_of
from .._unsupported import NOT_A_CALL, Unsupported
from .._weights import Library, arrays_of, torch_order

TORCH = Library(torch.cat, torch.zeros_like, torch.t)
FIRST_OUTPUT_IS_STATE = False


def known(value: Any) -> bool:
    """Return a boolean scalar's value. Raises Unsupported for one that is not known yet."""
    if value.is_meta:
        raise Unsupported(NOT_A_CALL)
    if torch.compiler.is_compiling():
        raise Unsupported("mask in a compiled call")
    return bool(value)


def run(options: dict[str, Any], cell: Any, x: Any, states: list[Any], lengths: Any) -> list[Any]:
    """Return ``y [B,T,H], h_n [B,H]``, and c_n for LSTM. Raises Unsupported for another device and for transforms."""
    route = _dispatch.route_of(x)
    if route is not _dispatch.KERNELS and route is not _dispatch.OP:
        raise Unsupported(route)
    # W and R are views of other strides, so the packed weights of a call are not cached, and none is ever stale.
    weights = torch_order(options["cell"], arrays_of(cell), TORCH)
    stack = stack_of(_name(options), 1, 1, weights)
    if lengths is not None:
        B, T = x.shape[:2]
        lengths = lengths.long() if route is _dispatch.OP else check_lengths(lengths.numpy(), T, B)
    # Copies: a stateful layer writes its new states into the same tensors before backward runs.
    h0, c0 = (torch.stack([s]) for s in states) if stack.has_c else (torch.stack(states), None)
    inputs = StackInputs(x.contiguous(), h0, c0, lengths, BATCH_MAJOR)
    if route is _dispatch.OP:
        y, h_n, c_n = _dispatch.run_op(stack.cell, 1, 1, inputs, weights)
    else:
        y, h_n, c_n = _dispatch.run(stack, inputs, weights)
    return [y, h_n[0]] if c_n is None else [y, h_n[0], c_n[0]]


def _name(options: dict[str, Any]) -> str:
    """Return the op's name of a cell."""
    wanted = {"nonlinearity": "tanh", "reset_after": True} | options
    return next(name for name, own in CELLS.items() if {"nonlinearity": "tanh", "reset_after": True} | own == wanted)
