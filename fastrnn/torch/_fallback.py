"""A stack in torch's own operators, step by step: slow, but for any dtype, device, transform and derivative.

The equations are those of docs/math.md. Torch's own layers would be faster, but oneDNN's have no second derivative, and they
have no rule for vmap.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._core.arrays import Array
from ..backends.structs import BATCH_MAJOR, TIME_MAJOR, Weights
from ._kernels import StackInputs
from ._stack import GATES, Stack

State = tuple[Tensor, Tensor | None]
_reported: set[tuple[str, str]] = set()


def report_once(name: str, reason: str) -> None:
    """Warn that torch's own operators run, once for each class and reason."""
    if (name, reason) not in _reported:
        _reported.add((name, reason))
        warnings.warn(f"fastrnn.torch.{name} runs PyTorch's own operators for {reason}", stacklevel=4)


def values_of(tensor: Tensor) -> Array:
    """Return a tensor's values, also within transforms of torch.func. Each vmap over the tensor adds an axis."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    with torch._C._DisableFuncTorch():
        array: Array = tensor.detach().cpu().numpy()
    return array


def differentiable(
    stack: Stack, inputs: StackInputs, weights: Sequence[Tensor], dropout: float = 0.0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return ``y, h_n, c_n`` of a stack, with dropout between the layers; c_n for LSTM only."""
    x, state = inputs.x, (inputs.h0, inputs.c0)
    lengths = None if inputs.lengths is None else torch.as_tensor(inputs.lengths).to(x.device)
    if inputs.rows == TIME_MAJOR:
        return unrolled(stack, x, state, lengths, weights, dropout)
    if inputs.rows == BATCH_MAJOR:
        y, h_n, c_n = unrolled(stack, x.transpose(0, 1), state, lengths, weights, dropout)
        return y.transpose(0, 1), h_n, c_n
    assert lengths is not None
    within = (torch.arange(int(lengths.max()), device=x.device)[:, None] < lengths)[:, :, None]
    padded = x.new_zeros(*within.shape[:2], x.shape[1]).masked_scatter(within, x)
    y, h_n, c_n = unrolled(stack, padded, state, lengths, weights, dropout)
    return y[within[:, :, 0]], h_n, c_n


def _initial(stack: Stack, x: Tensor, B: int, state: tuple[Tensor | None, Tensor | None]) -> State:
    """Return the initial states of all parts, with zeros for None."""
    cell, parts = stack.spec.cell, stack.spec.parts
    h, c = state
    h = x.new_zeros(parts, B, cell.output_size) if h is None else h
    return h, (x.new_zeros(parts, B, cell.hidden_size) if c is None else c) if stack.has_c else None


def unrolled(
    stack: Stack,
    x: Tensor,
    state: tuple[Tensor | None, Tensor | None],
    lengths: Tensor | None,
    weights: Sequence[Tensor],
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return ``y [T,B,D*Y], h_n, c_n`` of ``x [T,B,I]``, step by step, with dropout between the layers."""
    spec = stack.spec
    h0, c0 = _initial(stack, x, x.shape[1], state)
    if lengths is not None:  # autograd multiplies what lies past a length by 0, and 0 times NaN is NaN
        within = torch.arange(len(x), device=x.device)[:, None] < lengths
        x = torch.where(within[:, :, None], x, torch.zeros_like(x))
    finals: list[State] = []
    for i, own in enumerate(stack.by_part(weights)):
        direction = i % spec.directions
        if direction == 0:
            below, outputs = x, []
        y, final = _one_part(stack.cell, own, below, (h0[i], None if c0 is None else c0[i]), lengths, direction == 1)
        outputs.append(y)
        finals.append(final)
        if direction == spec.directions - 1:
            x = torch.cat(outputs, 2)
            if dropout and i < spec.parts - 1:
                x = torch.nn.functional.dropout(x, dropout)
    c_n = None if c0 is None else torch.stack([c for _, c in finals if c is not None])
    return x, torch.stack([h for h, _ in finals]), c_n


def _one_part(
    cell: str, own: Weights, x: Tensor, state: State, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    """Run one layer in one direction. A sequence's state stays as it is at the steps past its length."""
    p = torch.nn.functional.linear(x, own.W, own.b_ih)  # type: ignore[arg-type]
    ys: list[Tensor] = []
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        new: State = _step(cell, own, p[t], *state)
        y = new[0]
        if lengths is not None:
            active = (t < lengths)[:, None]
            y = torch.where(active, y, torch.zeros_like(y))
            (h, c), (h_before, c_before) = new, state
            new = torch.where(active, h, h_before), None
            if c is not None and c_before is not None:
                new = new[0], torch.where(active, c, c_before)
        state = new
        ys.append(y)
    return torch.stack(ys[::-1] if reverse else ys), state


def _step(cell: str, own: Any, p: Tensor, h: Tensor, c: Tensor | None) -> State:
    """Return the states after one step; ``p = W x_t + b_ih``, gates in torch's order."""
    H = own.R.shape[0] // GATES[cell]
    if cell.startswith("LSTM"):
        assert c is not None
        return _lstm_step(own, p, h, c, H)
    if cell == "GRU_NO_RESET":
        q = torch.nn.functional.linear(h, own.R, own.b_hh)
        z, n = torch.sigmoid(p[:, :H] + q[:, :H]), torch.tanh(p[:, H:] + q[:, H:])
        return (1 - z) * n + z * h, None
    if cell == "GRU_RESET_BEFORE":
        b = own.b_hh if own.b_hh is not None else p.new_zeros(3 * H)
        r, z = torch.sigmoid(p[:, : 2 * H] + h @ own.R[: 2 * H].T + b[: 2 * H]).chunk(2, 1)
        n = torch.tanh(p[:, 2 * H :] + (r * h) @ own.R[2 * H :].T + b[2 * H :])
        return (1 - z) * n + z * h, None
    q = torch.nn.functional.linear(h, own.R, own.b_hh)
    if cell == "GRU":
        r, z = torch.sigmoid(p[:, : 2 * H] + q[:, : 2 * H]).chunk(2, 1)
        n = torch.tanh(p[:, 2 * H :] + r * q[:, 2 * H :])
        return (1 - z) * n + z * h, None
    return (torch.tanh if cell == "RNN_TANH" else torch.relu)(p + q), None


def _lstm_step(own: Any, p: Tensor, h: Tensor, c: Tensor, H: int) -> State:
    i, f, g, o = (p + torch.nn.functional.linear(h, own.R, own.b_hh)).chunk(4, 1)
    if own.peephole is not None:
        i, f = i + own.peephole[:H] * c, f + own.peephole[H : 2 * H] * c
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    if own.peephole is not None:
        o = o + own.peephole[2 * H :] * c
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if own.projection is None else torch.nn.functional.linear(h, own.projection)), c
