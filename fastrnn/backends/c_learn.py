"""A training step of a language model as one call of the C library: see :mod:`fastrnn.text.learning`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .c_calls import kernel_of, params_fields, remember
from .c_library import NULL, ffi, from_buffer, int64s, lib, pointer, settings, take_workspace

if TYPE_CHECKING:
    from ..text.learning import Parts

Array = NDArray[Any]


class Call:
    """What the library needs to know of a batch, and what follows from that; kept, as the same sizes come again."""

    __slots__ = ("batch", "how", "lengths", "workspace")

    def __init__(self, learner: PreparedLearner, T: int, B: int, threads: int, ignore: int, lengths: Array | None) -> None:
        layer = learner.layers[0]
        self.lengths = lengths  # the batch points into it
        self.batch = ffi.new("fastrnn_batch *", (T, B, int64s(lengths), False, threads, 1))
        sizes = layer.isa, layer.dtype, True, T * B, learner.V, ignore
        self.how = ffi.new("fastrnn_cross_entropy *", sizes)
        self.workspace = lib.fastrnn_learn_workspace_size(learner.pointer, self.batch, self.how)


class PreparedLearner:
    """A model as the library takes it; ``parts`` keeps the memory that the pointers lead to."""

    __slots__ = ("V", "calls", "grads", "layers", "params", "parts", "pointer", "spec")

    def __init__(self, parts: Parts) -> None:
        self.parts, self.V, self.spec = parts, len(parts.weight), parts.specs[0]
        self.layers = ffi.new("fastrnn_layer[]", [kernel_of(spec, settings.isa).layer[0] for spec in parts.specs])
        self.params = ffi.new("fastrnn_params[]", [params_fields(params) for params in parts.params])
        self.grads = ffi.new("fastrnn_grads[]", [params_fields(grads) for grads in parts.grads])
        output = [pointer(array) for array in (parts.weight, parts.bias, parts.dweight, parts.dbias)]
        count = len(parts.specs)
        self.pointer = ffi.new("fastrnn_learner *", (count, self.layers, self.params, self.grads, *output))
        self.calls: dict[Any, Call] = {}

    def call(self, ids: Array, ignore_index: int, lengths: Array | None) -> Call:
        """For ids like these, with the number of threads now."""
        T, B = ids.shape
        key = T, B, lib.fastrnn_get_num_threads(), ignore_index
        if lengths is not None:
            return Call(self, *key, lengths)
        return self.calls.get(key) or remember(self.calls, key, Call(self, *key, None))


def learn(
    learner: PreparedLearner,
    ids: Array,
    targets: Array,
    h0: Array | None,
    c0: Array | None,
    lengths: Array | None,
    ignore_index: int,
) -> tuple[float, Array, Array | None] | None:
    """loss, h_n and c_n; None for a target out of range."""
    call, spec, count = learner.call(ids, ignore_index, lengths), learner.spec, len(learner.parts.specs)
    B, dtype = ids.shape[1], learner.parts.weight.dtype
    h_n = np.empty((count, B, spec.output_size), dtype)
    c_n = np.empty((count, B, spec.hidden_size), dtype) if spec.cell == "lstm" else None
    inputs = [(NULL, int64s(ids), pointer(h0), pointer(c0))]
    output = [(NULL, from_buffer(h_n), pointer(c_n), NULL)]
    workspace = take_workspace(call.workspace)
    loss = lib.fastrnn_learn(
        learner.pointer, call.batch, call.how, inputs, int64s(targets), NULL, output, workspace
    )  # fmt: skip
    return None if loss == -1 else (loss, h_n, c_n)
