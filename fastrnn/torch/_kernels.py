"""Forward and backward of a stack on tensors' memory, without copies; the ops and the modules call these functions.

Letters and shapes are those of :mod:`fastrnn.backends.structs`. Tensors are contiguous, on the CPU, and of one dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import threads
from .._core import memory
from .._core.arrays import Array
from ..backends.structs import Inputs, OutputGradients
from ._packed_weights import packed_weights, with_values
from ._stack import Stack


class StackInputs(NamedTuple):
    """Inputs of one call: ``x``, the initial states (None for zeros), lengths ``[B]`` or None, and the order of the rows.

    The lengths are an int64 array, or a tensor for the op.
    """

    x: Tensor
    h0: Tensor | None
    c0: Tensor | None
    lengths: Any
    rows: str

    def arrays(self) -> Inputs:
        """Return the inputs as arrays on the tensors' memory."""
        return Inputs(_array(self.x), _optional(self.h0), _optional(self.c0), self.lengths, self.rows)


class _Threads:
    """Torch's number of threads, which the kernels use until ``set_num_threads`` sets another one.

    A number that was set before the import of this module holds until torch's changes.
    """

    def __init__(self) -> None:
        self.followed = torch.get_num_threads()
        if not threads.is_set():
            self.follow(self.followed)

    def follow(self, n: int) -> None:
        self.followed = n
        threads.set_num_threads(min(n, 256))


_threads = _Threads()


def infer(stack: Stack, inputs: StackInputs, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run inference; returns ``y, h_n, c_n``, c_n for LSTM only."""
    if (n := torch.get_num_threads()) != _threads.followed:
        _threads.follow(n)
    x, h0, c0, lengths, rows = inputs
    packed = packed_weights(stack, weights, False, x.shape)
    if lengths is None:
        y, h_n, c_n = packed.run(x.shape, rows)(_array(x), _optional(h0), _optional(c0))
    else:
        out = packed.backend.forward(packed.prepared, inputs.arrays())
        y, h_n, c_n = out.y, out.h_n, out.c_n
    return torch.from_numpy(y), torch.from_numpy(h_n), None if c_n is None else torch.from_numpy(c_n)


def train(
    stack: Stack, inputs: StackInputs, weights: Sequence[Tensor], tape: Tensor | None = None
) -> tuple[tuple[Tensor, Tensor, Tensor | None], Tensor]:
    """Run forward for a backward; returns ``(y, h_n, c_n), tape``.

    The tape is bytes, which are written into ``tape`` if it is given. It is empty if the backend's tape is not memory.
    """
    if (n := torch.get_num_threads()) != _threads.followed:
        _threads.follow(n)
    packed = packed_weights(stack, weights, True, inputs.x.shape)
    memory = None if tape is None else tape.numpy()
    out = packed.backend.forward(packed.prepared, inputs.arrays(), training=True, memory=memory)
    if tape is None:
        tape = torch.from_numpy(packed.backend.tape_memory(out.tape))
    c_n = None if out.c_n is None else torch.from_numpy(out.c_n)
    return (torch.from_numpy(out.y), torch.from_numpy(out.h_n), c_n), tape


def backward(
    stack: Stack,
    inputs: StackInputs,
    weights: Sequence[Tensor],
    tape: Tensor | None,
    gradients: Sequence[Tensor | None],
    need_dx: bool,
) -> tuple[Tensor | None, Tensor, Tensor | None, list[Tensor]]:
    """Return the gradients of x, h0, c0 and the parameters, given the ``gradients`` of y, h_n and c_n.

    The tape is overwritten. Without one, or with one of no bytes or of other settings, the forward pass runs again.
    """
    if (n := torch.get_num_threads()) != _threads.followed:
        _threads.follow(n)
    packed = packed_weights(stack, weights, True, inputs.x.shape)
    backend, arrays = packed.backend, inputs.arrays()
    content = backend.tape_from(packed.prepared, arrays, np.empty(0, np.uint8) if tape is None else tape.numpy())
    into = stack.by_part([memory.zeros(tuple(w.shape), stack.spec.cell.dtype) for w in weights])
    dout = OutputGradients(*(None if g is None else _array(g.contiguous()) for g in gradients))
    found = backend.backward(content, dout, into, need_dx=need_dx)
    dx, dh0, dc0 = (None if a is None else torch.from_numpy(a) for a in found)
    assert dh0 is not None
    return dx, dh0, dc0, [torch.from_numpy(a) for a in stack.in_order(into)]


def _array(tensor: Tensor) -> Array:
    tensor = tensor.detach() if tensor.requires_grad else tensor
    try:
        array: Array = tensor.numpy()
    except RuntimeError:
        array = with_values(tensor).numpy()
    return array


def _optional(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else _array(tensor)
