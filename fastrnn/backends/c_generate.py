"""The C library's sampling loop under the dataclasses of :mod:`fastrnn.sampling`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..sampling import NOTHING, Answer, Request
from .c_calls import stack_fields
from .c_library import ffi, int64s, lib, pointer, take_workspace

if TYPE_CHECKING:
    from .c import Prepared

Array = NDArray[Any]


def _model(stack: Sequence[Prepared], request: Request) -> tuple[Any, list[Any]]:
    """The library's model, and what must stay alive while it is in use."""
    layers, pointers, alive = stack_fields(stack)
    embedding = request.embedding
    E = 0 if embedding is None else embedding.shape[1]
    ends = (pointer(request.weight), pointer(request.bias))
    parts = (request.weight.shape[0], E, pointer(embedding), len(stack), layers, pointers, *ends)
    return ffi.new("fastrnn_language_model *", parts), alive


def generate(stack: Sequence[Prepared], request: Request) -> Answer:
    """Sample; see :func:`fastrnn.sampling.generate`. Samples run one after the other: each is one call."""
    model, alive = _model(stack, request)
    choice = request.choice
    how = (choice.temperature, choice.top_p, choice.top_k, request.eos, choice.greedy)
    sampling = ffi.new("fastrnn_sampling *", how)
    length, N = request.uniforms.shape
    tokens = np.full((N, length), NOTHING, np.int64)
    states = [_flat_states(request, n) for n in range(N)]
    workspace = take_workspace(lib.fastrnn_generate_workspace_size(model))
    for n in range(N):
        prime, uniforms = np.ascontiguousarray(request.prime[:, n]), np.ascontiguousarray(request.uniforms[:, n])
        h, c = states[n]
        lib.fastrnn_generate(
            model,
            sampling,
            int64s(prime),
            len(prime),
            ffi.from_buffer("double[]", uniforms),
            length,
            pointer(h),
            pointer(c),
            int64s(tokens[n]),
            workspace,
        )
    del alive
    return Answer(np.ascontiguousarray(tokens.T), _unflattened(request, states))


def _flat_states(request: Request, n: int) -> tuple[Array, Array]:
    """Sample n's h of all layers in one array, and its c."""
    dtype = request.weight.dtype
    hs = [h[n] for h, _ in request.states]
    cs = [c[n] for _, c in request.states if c is not None] or [np.empty(0, dtype)]
    return np.concatenate(hs), np.concatenate(cs)


def _unflattened(request: Request, flat: list[tuple[Array, Array]]) -> tuple[tuple[Array, Array | None], ...]:
    h_all, c_all = (np.stack(arrays) for arrays in zip(*flat, strict=True))
    states, h_at, c_at = [], 0, 0
    for h, c in request.states:
        new_h = h_all[:, h_at : h_at + h.shape[1]].copy()
        h_at += h.shape[1]
        new_c = None
        if c is not None:
            new_c = c_all[:, c_at : c_at + c.shape[1]].copy()
            c_at += c.shape[1]
        states.append((new_h, new_c))
    return tuple(states)
