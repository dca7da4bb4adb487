"""The gradient of a stack for torch's autograd in eager mode. Traced graphs use the ops (``_ops.py``) instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import _kernels
from ._fallback import differentiable
from ._kernels import StackInputs
from ._stack import Stack


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
        if torch.is_grad_enabled():  # create_graph=True: the result must be differentiable
            found = twice_differentiable(ctx.stack, inputs, weights, gradients)
        else:
            used, ctx.used = ctx.used, True
            tape = None if used else tape
            dx, dh0, dc0, dweights = _kernels.backward(ctx.stack, inputs, weights, tape, gradients, ctx.needs_input_grad[3])
            found = [dx, None if h0 is None else dh0, None if c0 is None else dc0, *dweights]
        wanted = ctx.needs_input_grad[3:]
        return None, None, None, *(g if want else None for g, want in zip(found, wanted, strict=True))


# Function.apply itself looks for transforms of torch.func, which takes 5 us; they never come here (_dispatch.py).
apply = super(torch.autograd.Function, StackFunction).apply


def twice_differentiable(
    stack: Stack, inputs: StackInputs, weights: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of x, h0, c0 and the parameters as differentiable functions, through torch's operators."""
    outputs = [y for y in differentiable(stack, inputs, weights) if y is not None]
    pairs = [(y, g) for y, g in zip(outputs, gradients, strict=False) if g is not None]
    leaves = [inputs.x, inputs.h0, inputs.c0, *weights]
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    found = iter(
        torch.autograd.grad([y for y, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True)
    )
    return [next(found) if leaf is not None and leaf.requires_grad else None for leaf in leaves]
