"""The gradient of a stack for torch's autograd in eager mode. Traced graphs use the ops (``_ops.py``) instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import _kernels
from ._fallback import differentiable, report_once
from ._kernels import StackInputs
from ._stack import Stack

_transform = torch._C._functorch.peek_interpreter_stack


def _is_batched(gradient: Tensor | None) -> bool:
    """Return whether ``autograd.grad(is_grads_batched=True)`` has batched this gradient."""
    return gradient is not None and torch._C._functorch.is_legacy_batchedtensor(gradient)


class StackFunction(torch.autograd.Function):
    """``y, h_n[, c_n]`` of a stack. The tape is a saved tensor, so it is free as soon as backward has run."""

    @staticmethod
    def forward(
        ctx: Any, stack: Stack, lengths: Any, rows: str, x: Tensor, h0: Tensor | None, c0: Tensor | None, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        """Run the forward pass and save what backward needs."""
        outputs, tape = _kernels.train(stack, StackInputs(x, h0, c0, lengths, rows), weights)
        ctx.stack, ctx.lengths, ctx.rows, ctx.used = stack, lengths, rows, False
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h0, c0, tape, *weights)
        return tuple(output for output in outputs if output is not None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        """Return the gradients of the arguments. The tape serves once; later the forward pass runs again."""
        x, h0, c0, tape, *weights = ctx.saved_tensors
        inputs = StackInputs(x, h0, c0, ctx.lengths, ctx.rows)
        if torch.is_grad_enabled() or _transform() is not None or any(map(_is_batched, gradients)):
            # create_graph=True, or gradients that vmap batches: torch's operators run.
            found = twice_differentiable(ctx.stack, inputs, weights, gradients)
        else:
            used, ctx.used = ctx.used, True
            tape = None if used else tape
            dx, dh0, dc0, dweights = _kernels.backward(ctx.stack, inputs, weights, tape, gradients, ctx.needs_input_grad[3])
            found = [dx, None if h0 is None else dh0, None if c0 is None else dc0, *dweights]
        wanted = ctx.needs_input_grad[3:]
        return None, None, None, *(g if want else None for g, want in zip(found, wanted, strict=True))


# Function.apply searches for transforms of torch.func, which takes 5 us. _dispatch.py never sends them here.
apply = super(torch.autograd.Function, StackFunction).apply


def twice_differentiable(
    stack: Stack, inputs: StackInputs, weights: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of x, h0, c0 and the parameters as differentiable functions, through torch's operators."""
    differentiably = torch.is_grad_enabled()
    reason = "second derivatives (create_graph=True)" if differentiably else "gradients batched by vmap"
    report_once(stack.cell.partition("_")[0], reason)
    with torch.enable_grad():
        outputs = [y for y in differentiable(stack, inputs, weights) if y is not None]
    pairs = [(y, g) for y, g in zip(outputs, gradients, strict=False) if g is not None]
    leaves = [inputs.x, inputs.h0, inputs.c0, *weights]
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    ends, dends = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(ends, wanted, dends, create_graph=differentiably, allow_unused=True))
    return [next(found) if leaf is not None and leaf.requires_grad else None for leaf in leaves]
