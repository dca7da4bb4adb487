"""Sampling (:mod:`fastrnn.sampling`) in Python for any backend, with a forward pass for each token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._core.arrays import Array
from ..sampling import NOTHING, Answer, Request, choose
from .structs import Inputs

if TYPE_CHECKING:
    from .base import Backend


def step_by_step(backend: Backend, prepared: Any, request: Request) -> Answer:
    """Sample with a forward pass of a prepared stack for each token; this specifies ``Backend.generate``."""
    h, c = request.h0, request.c0
    length, N = request.uniforms.shape
    tokens = np.full((length, N), NOTHING, np.int64)
    going = np.ones(N, bool)
    ids = request.prime
    for t in range(length):
        x = ids if request.embedding is None else _embed(request.embedding, ids)
        out = backend.forward(prepared, Inputs(x, h, c))
        h, c = out.h_n, out.c_n
        chosen = choose(out.y[-1] @ request.weight.T + request.bias, request.uniforms[t], request.choice)
        tokens[t, going] = chosen[going]
        going &= chosen != request.eos
        if not going.any():
            break
        ids = tokens[t : t + 1]
    assert h is not None
    return Answer(tokens, h, c)


def _embed(embedding: Array, ids: Array) -> Array:
    """Return the rows of ``embedding [V,E]`` for ids ``[T,N]``, with zeros for -1."""
    rows = embedding[np.maximum(ids, 0)]
    rows[ids == NOTHING] = 0
    return rows
