"""The C library's sampling loop, called with the dataclasses of :mod:`fastrnn.sampling`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from ...sampling import NOTHING, Answer, Request
from .library import ffi, int64s, lib, pointer, take_workspace
from .stack import Prepared


def generate(prepared: Prepared, request: Request) -> Answer:
    """Sample as :func:`fastrnn.backends.numpy_sampling.step_by_step` does.

    Samples run one after the other, each in one call of the library.
    """
    prepared = prepared.for_batch(1)
    spec, packed = prepared.kernel.spec, prepared.packed(False)
    embedding, choice = request.embedding, request.choice
    sizes = request.weight.shape[0], 0 if embedding is None else embedding.shape[1]
    ends = pointer(request.weight), pointer(request.bias)
    model = ffi.new("fastrnn_language_model *", (*sizes, pointer(embedding), prepared.kernel.stack, packed, *ends))
    how = (choice.temperature, choice.top_p, choice.top_k, request.eos, choice.greedy)
    sampling = ffi.new("fastrnn_sampling *", how)
    length, N = request.uniforms.shape
    tokens = np.full((N, length), NOTHING, np.int64)
    h = _by_sample(request.h0, N, (spec.layers, spec.cell.output_size), prepared.kernel.dtype)
    c = _by_sample(request.c0, N, (spec.layers, spec.cell.hidden_size), prepared.kernel.dtype)
    workspace = take_workspace(lib.fastrnn_generate_workspace_size(model))
    for n in range(N):
        prime, uniforms = np.ascontiguousarray(request.prime[:, n]), np.ascontiguousarray(request.uniforms[:, n])
        lib.fastrnn_generate(
            model,
            sampling,
            int64s(prime),
            len(prime),
            ffi.from_buffer("double[]", uniforms),
            length,
            pointer(h[n]),
            pointer(c[n]),
            int64s(tokens[n]),
            workspace,
        )
    c_n = np.ascontiguousarray(c.swapaxes(0, 1)) if spec.cell.cell == "lstm" else None
    return Answer(np.ascontiguousarray(tokens.T), np.ascontiguousarray(h.swapaxes(0, 1)), c_n)


def _by_sample(states: Array | None, N: int, shape: tuple[int, int], dtype: Any) -> Array:
    """Copy states ``[L,N,size]`` (None: zeros) to a new array ``[N,L,size]``, which the library overwrites."""
    if states is None:
        return np.zeros((N, *shape), dtype)
    return np.array(states.swapaxes(0, 1), order="C")
