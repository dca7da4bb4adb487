"""The host's side: the kernels on the arrays that JAX passes to a callback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backends
from .._core.arrays import Array
from .._stack_validation import check_lengths
from ..backends.structs import BATCH_MAJOR, Inputs, OutputGradients, StackSpec, Weights


def tape_size(stack: StackSpec, rows: str, shape: tuple[int, ...]) -> int:
    """Return the number of bytes of a tape for x of this shape."""
    B, T = shape[:2] if rows == BATCH_MAJOR else shape[1::-1]
    fixed, per_step, per_sequence, per_row = backends.current(None).tape_size(stack)
    return fixed + per_step * T + per_sequence * B + per_row * T * B


def infer(stack: StackSpec, rows: str, x: Any, states: Any, lengths: Any, weights: Any) -> tuple[Array, ...]:
    """Return ``y, h_n[, c_n]`` of inference."""
    return _outputs(_forward(stack, _inputs(rows, x, states, lengths), weights))


def train(stack: StackSpec, rows: str, x: Any, states: Any, lengths: Any, weights: Any) -> tuple[Array, ...]:
    """Return ``y, h_n[, c_n], tape``; the tape is bytes, none if the backend's tape is not memory."""
    inputs = _inputs(rows, x, states, lengths)
    tape = _aligned(tape_size(stack, rows, inputs.x.shape))
    return *_outputs(_forward(stack, inputs, weights, training=True, memory=tape)), tape


def backward(
    stack: StackSpec, rows: str, x: Any, states: Any, lengths: Any, weights: Any, tape: Any, gradients: Any
) -> tuple[Any, ...]:
    """Return ``dx, dstates, dweights``; the tape stays as it is."""
    backend, inputs = backends.current(None), _inputs(rows, x, states, lengths)
    own = [_weights(weights)]
    bytes_of = _aligned(tape.size)
    bytes_of[:] = tape
    if bytes_of.size:
        content = backend.tape_from(backend.prepare(stack, own), inputs, bytes_of)
    else:
        content = _forward(stack, inputs, weights, training=True).tape
    into = own[0].zeros_like()
    dy, *dlast = (np.asarray(g) for g in gradients)
    found = backend.backward(content, OutputGradients(dy, *(d[None] for d in dlast)), [into])
    assert found.dx is not None
    dstates = [state[0] for state in (found.dh0, found.dc0) if state is not None]
    return found.dx, tuple(dstates), tuple(array for _, array in into.items())


def _aligned(size: int) -> Array:
    """Allocate bytes that begin on a cache line, which the C library requires of a tape."""
    block = np.empty(size + 64, np.uint8)
    skip = -block.ctypes.data % 64
    return block[skip : skip + size]


def _forward(stack: StackSpec, inputs: Inputs, weights: Any, **options: Any) -> Any:
    backend = backends.current(None)
    return backend.forward(backend.prepare(stack, [_weights(weights)]), inputs, **options)


def _inputs(rows: str, x: Any, states: Any, lengths: Any) -> Inputs:
    x = np.asarray(x)
    B, T = x.shape[:2] if rows == BATCH_MAJOR else x.shape[1::-1]
    return Inputs(x, *_states(states), None if lengths is None else check_lengths(np.asarray(lengths), T, B), rows)


def _states(states: Sequence[Any]) -> tuple[Array, Array | None]:
    h0, *c0 = (np.asarray(state)[None] for state in states)
    return h0, c0[0] if c0 else None


def _weights(weights: Sequence[Any]) -> Weights:
    return Weights(*(np.asarray(array) for array in weights))


def _outputs(out: Any) -> tuple[Array, ...]:
    return (out.y, out.h_n[0]) if out.c_n is None else (out.y, out.h_n[0], out.c_n[0])
