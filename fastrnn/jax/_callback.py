"""Calls of the kernels through ``jax.pure_callback``: XLA's programs call Python, which calls any backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import backends
from .._core.arrays import Array
from .._stack_validation import check_lengths
from ..backends.structs import BATCH_MAJOR, Inputs, OutputGradients, Weights
from ._call import Call, like


class _Host(NamedTuple):
    """A function of the host with its settings; equal ones compare equal, so JAX finds what it has compiled for them."""

    function: Any
    call: Call
    setting: bool

    def __call__(self, *arrays: Any) -> Any:
        return self.function(self.call, self.setting, *arrays)


def forward(call: Call, training: bool, x: Any, states: Any, lengths: Any, weights: Any) -> Any:
    """Return ``y, h_n[, c_n]``, and in training the tape."""
    host: Any = _Host(_run_forward, call, training)
    return jax.pure_callback(host, call.outputs(x, training), x, states, lengths, weights)


def backward(
    call: Call, need_dx: bool, x: Any, states: Any, lengths: Any, weights: Any, tape: Any, gradients: Any
) -> tuple[Any, ...]:
    """Return ``dx, dstates, dweights``; dx is None unless ``need_dx``."""
    outputs = like((x if need_dx else None, states, weights))
    host: Any = _Host(_run_backward, call, need_dx)
    found: tuple[Any, ...] = jax.pure_callback(host, outputs, x, states, lengths, weights, tape, gradients)
    return found


def _run_forward(call: Call, training: bool, x: Any, states: Any, lengths: Any, weights: Any) -> tuple[Array, ...]:
    inputs = _inputs(call.rows, x, states, lengths)
    if not training:
        return _outputs(_kernels(call, inputs, weights))
    tape = _aligned(call.outputs(inputs.x, training)[-1].size)
    return *_outputs(_kernels(call, inputs, weights, training=True, memory=tape)), tape


def _run_backward(
    call: Call, need_dx: bool, x: Any, states: Any, lengths: Any, weights: Any, tape: Any, gradients: Any
) -> tuple[Any, ...]:
    """Run backward on a copy of the tape, which may be needed again."""
    backend, inputs = backends.current(None), _inputs(call.rows, x, states, lengths)
    own = [_weights(weights)]
    bytes_of = _aligned(tape.size)
    bytes_of[:] = tape
    content = backend.tape_from(backend.prepare(call.stack, own), inputs, bytes_of)
    into = own[0].zeros_like()
    dy, *dlast = (np.asarray(g) for g in gradients)
    found = backend.backward(content, OutputGradients(dy, *(d[None] for d in dlast)), [into], need_dx=need_dx)
    dstates = [state[0] for state in (found.dh0, found.dc0) if state is not None]
    return found.dx, tuple(dstates), tuple(array for _, array in into.items())


def _aligned(size: int) -> Array:
    """Allocate bytes that begin on a cache line, which the C library requires of a tape."""
    block = np.empty(size + 64, np.uint8)
    skip = -block.ctypes.data % 64
    return block[skip : skip + size]


def _kernels(call: Call, inputs: Inputs, weights: Any, **options: Any) -> Any:
    backend = backends.current(None)
    return backend.forward(backend.prepare(call.stack, [_weights(weights)]), inputs, **options)


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
