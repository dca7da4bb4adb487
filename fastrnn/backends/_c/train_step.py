"""The training step of a language model, as one call of the C library."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from ..._core.precision import get_float32_matmul_precision
from ..structs import Inputs, TrainedModel
from .library import NULL, ffi, from_buffer, int64s, lib, pointer, settings, take_workspace
from .precision import PRODUCTS, choose_linear, largest_columns, precision_for_rows
from .stack import Kernel, kernel_of, remember, states_split, weights_fields


class StepCall:
    """Structures of a training step for one batch size: batch, loss, and the size of the workspace."""

    __slots__ = ("batch", "how", "lengths", "model", "workspace")

    def __init__(self, model: PreparedModel, T: int, B: int, threads: int, ignore: int, lengths: Array | None) -> None:
        stack = model.kernel.stack
        self.lengths = lengths  # the batch points into this array
        self.batch = ffi.new("fastrnn_batch *", (T, B, int64s(lengths), False, threads))
        self.how = ffi.new("fastrnn_cross_entropy *", (stack.isa, stack.dtype, True, T * B, len(model.parts.weight), ignore))
        products = PRODUCTS[precision_for_rows(model.output_precision, stack.isa, T * B)]
        self.model = ffi.new("fastrnn_trained_model *", (*model.pointers, products))
        self.workspace = lib.fastrnn_train_step_workspace_size(self.model, self.batch, self.how)


class PreparedModel:
    """A model in the library's structures; ``parts`` keeps the memory alive to which the structures point."""

    __slots__ = ("_in_float32", "calls", "kernel", "output_precision", "parts", "pointers")

    def __init__(self, parts: TrainedModel, kernel: Kernel, output_precision: str) -> None:
        self.parts, self.kernel, self.output_precision = parts, kernel, output_precision
        weights = ffi.new("fastrnn_weights[]", [weights_fields(own) for own in parts.weights])
        gradients = ffi.new("fastrnn_weight_gradients[]", [weights_fields(own) for own in parts.gradients])
        output = [pointer(array) for array in (parts.weight, parts.bias, parts.dweight, parts.dbias)]
        self.pointers = self.kernel.stack, weights, gradients, *output
        self._in_float32: PreparedModel | None = None
        self.calls: dict[Any, StepCall] = {}

    def suited_to(self, B: int, h0: Array | None) -> PreparedModel:
        """Return the model that runs a batch of B sequences with these states and the present weights."""
        kernel = self.kernel
        large = kernel.smallest_batch <= B
        if large and (not kernel.by_values or self._splits(h0)):
            return self
        if self._in_float32 is None:
            self._in_float32 = PreparedModel(self.parts, kernel.in_float32(), self.output_precision)
        return self._in_float32

    def _splits(self, h0: Array | None) -> bool:
        return states_split(self.parts.weights, self.kernel.spec.directions) and largest_columns(h0) is not None

    def call(self, ids: Array, ignore_index: int, lengths: Array | None) -> StepCall:
        """Return the call for ids of this shape and the current number of threads; without lengths it is cached."""
        T, B = ids.shape
        key = T, B, lib.fastrnn_get_num_threads(), ignore_index
        if lengths is not None:
            return StepCall(self, *key, lengths)
        return self.calls.get(key) or remember(self.calls, key, StepCall(self, *key, None))


def prepare_model(parts: TrainedModel) -> PreparedModel:
    """Return a model in the library's structures, for the current instruction set and precision."""
    isa = settings.isa
    precision = choose_linear(get_float32_matmul_precision(), parts.weight, isa)
    return PreparedModel(parts, kernel_of(parts.stack, isa), precision)


def train_step(
    model: PreparedModel, inputs: Inputs, targets: Array, ignore_index: int
) -> tuple[float, Array, Array | None] | None:
    """Run the training step; returns ``loss, h_n, c_n``, or None if a target is out of range."""
    ids, h0, c0, lengths, _ = inputs
    model = model.suited_to(ids.shape[1], h0)
    call, spec = model.call(ids, ignore_index, lengths), model.kernel.spec
    B, dtype = ids.shape[1], model.kernel.dtype
    h_n = np.empty((spec.layers, B, spec.cell.output_size), dtype)
    c_n = np.empty((spec.layers, B, spec.cell.hidden_size), dtype) if spec.cell.cell == "lstm" else None
    given = [(NULL, int64s(ids), pointer(h0), pointer(c0))]
    output = [(NULL, from_buffer(h_n), pointer(c_n), NULL)]
    workspace = take_workspace(call.workspace)
    loss = lib.fastrnn_train_step(
        call.model, call.batch, call.how, given, int64s(targets), NULL, output, workspace
    )  # fmt: skip
    return None if loss == -1 else (loss, h_n, c_n)
