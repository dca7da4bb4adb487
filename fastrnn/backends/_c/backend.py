"""The C backend, which calls the library of ``csrc/``.

The library allocates nothing. Outputs and tapes come from :mod:`fastrnn._core.memory`. Each thread has one workspace, which
grows to the largest size that the thread needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ..._core.precision import get_float32_matmul_precision
from ...sampling import Answer, Request
from ..base import Backend, Run
from ..structs import TIME_MAJOR, Gradients, Inputs, OutputGradients, Outputs, Plan, StackSpec, TrainedModel, Weights
from . import xla
from .generate import generate
from .library import (
    NULL,
    aligned,
    ffi,
    from_buffer,
    info,
    isa_names,
    lib,
    pointer,
    set_isa,
    settings,
    take_workspace,
)
from .linear import CLinear
from .memory import hash_arrays, tape_size
from .pointwise import CPointwise
from .stack import STAMP, Call, Kernel, Prepared, batch_of, bind, inputs_fields, kernel_of, run_of, weights_fields
from .stream import CStream
from .train_step import PreparedModel, prepare_model, train_step
from .training import CTraining

__all__ = ["BACKEND", "info", "isa_names", "set_isa"]

_SPLITS = {lib.FASTRNN_SPLIT_NONE: "none", lib.FASTRNN_SPLIT_BATCH: "batch", lib.FASTRNN_SPLIT_HIDDEN: "hidden"}


@dataclass(slots=True)
class Tape:
    """Data for backward: the inputs, the packed weights and the library's own tape."""

    kernel: Kernel
    call: Call
    packed: Any
    x: Array
    memory: Array


class C(CLinear, CPointwise, CTraining, Backend):
    """The C backend. It runs whole stacks, not parts; see :class:`fastrnn.backends.base.Backend`."""

    name = "c"
    takes_compressed = True

    def settings(self) -> Any:
        """Return the instruction set and the precision in use, because they determine the layout of packed weights."""
        return settings.isa, get_float32_matmul_precision()

    def prepare(self, spec: StackSpec, weights: Sequence[Weights]) -> Prepared:  # type: ignore[override]
        """Return a prepared stack, which packs the weights when it first runs."""
        return Prepared(kernel_of(spec, settings.isa), weights)

    def prepare_copy(self, spec: StackSpec, weights: Sequence[Weights], training: bool) -> Prepared:
        """Return a stack with its weights packed."""
        prepared = self.prepare(spec, weights)
        prepared.pack_all(training)
        return prepared

    def forward(  # type: ignore[override]
        self,
        prepared: Prepared,
        inputs: Inputs,
        *,
        training: bool = False,
        cell_states: bool = False,
        memory: Array | None = None,
    ) -> Outputs:
        """Run the forward pass in one call of the library."""
        x, h0, c0, lengths, rows = inputs
        prepared = prepared.for_batch(batch_of(x.shape, rows, lengths)).for_values(x, h0)
        kernel, call = prepared.kernel, prepared.kernel.call(x.shape, rows, training, lengths)
        packed, dtype, empty = prepared.packed(training), kernel.dtype, call.empty
        y, h_n = empty(call.y, dtype), empty(call.h, dtype)
        c_n = empty(call.c, dtype) if call.c else None
        c = empty(call.cells, dtype) if cell_states and call.c else None
        if training and memory is None:
            memory = aligned(call.tape + STAMP)
        given = inputs_fields(x, call.ids, NULL if h0 is None else from_buffer(h0), NULL if c0 is None else from_buffer(c0))
        states = NULL if c_n is None else from_buffer(c_n), NULL if c is None else from_buffer(c)
        output, tape = (from_buffer(y), from_buffer(h_n), *states), NULL if memory is None else from_buffer(memory)
        workspace = take_workspace(call.workspace)
        lib.fastrnn_forward(kernel.stack, packed, call.batch, [given], [output], tape, workspace)
        if memory is not None:
            memory[-STAMP:] = kernel.stamp
        return Outputs(y, h_n, c_n, c, None if memory is None else Tape(kernel, call, packed, x, memory))

    def run_of(self, prepared: Prepared, shape: tuple[int, ...], rows: str = TIME_MAJOR) -> Run:
        """Return inference with sizes and structures made in advance, so a small step costs little overhead."""
        return run_of(prepared, shape, rows)

    def bind(
        self, prepared: Prepared, x: Array, h0: Array | None, c0: Array | None, y: Array, h_n: Array, c_n: Array | None
    ) -> Callable[[], object]:
        """Return one call of the library, for these arrays."""
        return bind(prepared, x, h0, c0, y, h_n, c_n)

    def backward(  # type: ignore[override]
        self, tape: Tape, dout: OutputGradients, gradients: Sequence[Weights], *, need_dx: bool = True
    ) -> Gradients:
        """Run the backward pass in one call of the library; the tape is used up."""
        kernel, call = tape.kernel, tape.call
        stack, dtype, empty = kernel.stack, kernel.dtype, call.empty
        dx = empty(call.dx, dtype) if need_dx and not call.ids else None
        dh0 = empty(call.h, dtype)
        dc0 = empty(call.c, dtype) if call.c else None
        lib.fastrnn_backward(
            stack,
            tape.packed,
            call.batch,
            [inputs_fields(tape.x, call.ids)],
            [[pointer(a) for a in dout]],
            [[pointer(a) for a in (dx, dh0, dc0)]],
            [weights_fields(own) for own in gradients],
            ffi.from_buffer(tape.memory),
            take_workspace(lib.fastrnn_backward_workspace_size(stack, call.batch, call.ids)),
        )
        return Gradients(dx, dh0, dc0)

    def tape_memory(self, tape: Tape) -> Array:
        """Return the memory that the library wrote, with the kernel's stamp at the end."""
        return tape.memory

    def tape_size(self, spec: StackSpec) -> tuple[int, int, int, int]:
        """Return a bound that is linear in the sizes; see :meth:`Backend.tape_size`."""
        return tape_size(kernel_of(spec, settings.isa))

    def tape_from(self, prepared: Prepared, inputs: Inputs, memory: Array) -> Tape:  # type: ignore[override]
        """Return the tape on a memory that :meth:`tape_memory` returned; backward overwrites it.

        If it has another kernel's stamp, because the precision or the instruction set has changed, forward runs again.
        """
        x, h0, _, lengths, rows = inputs
        chosen = prepared.for_batch(batch_of(x.shape, rows, lengths)).for_values(x, h0)
        if not np.array_equal(memory[-STAMP:], chosen.kernel.stamp):
            found: Tape = self.forward(prepared, inputs, training=True).tape
            return found
        call = chosen.kernel.call(x.shape, rows, True, lengths)
        return Tape(chosen.kernel, call, chosen.packed(True), x, memory)

    def hash_arrays(self, spec: StackSpec, addresses: Sequence[int], counts: Sequence[int]) -> Callable[[int, int], int]:
        """Return the library's hash of these arrays."""
        return hash_arrays(kernel_of(spec, settings.isa), addresses, counts)

    def xla_handlers(self) -> dict[str, int]:
        """Return the library's two handlers."""
        return xla.handlers()

    def xla_numbers(self, spec: StackSpec, rows: str, bias: bool, lengths: bool, need_dx: bool) -> Array:
        """Return the numbers that both handlers take."""
        kernel = kernel_of(spec, settings.isa)
        if kernel.smallest_batch:  # neither the batch nor the values are known yet
            kernel = kernel.in_float32()
        return xla.numbers(kernel, rows, bias, lengths, need_dx)

    def plan(self, spec: StackSpec, T: int, B: int) -> list[Plan]:
        """Return the plan that forward would use now."""
        kernel, batch = kernel_of(spec, settings.isa), [{"T": T, "B": B}]
        choice = kernel.choice_for(B)
        stack = (kernel if choice == kernel.choice else kernel.in_float32()).stack
        isa = ffi.string(lib.fastrnn_isa_name(stack.isa)).decode()
        layers_at_once = lib.fastrnn_plan_layers(stack, batch)
        if layers_at_once > 1:
            return [Plan(self.name, isa, "none", 1, layers_at_once, *choice)] * spec.parts
        plans = []
        for layer in range(spec.layers):
            split, threads = ffi.new("int32_t *"), ffi.new("int32_t *")
            at_once = lib.fastrnn_plan(stack, layer, batch, False, split, threads)
            plans += [Plan(self.name, isa, _SPLITS[split[0]], threads[0], at_once, *choice)] * spec.directions
        return plans

    def stream(self, prepared: Prepared, ids: bool, h0: Array | None, c0: Array | None) -> CStream:  # type: ignore[override]
        """Return a stream whose memory is laid out once, for all steps."""
        return CStream(prepared, ids, h0, c0)

    def generate(self, prepared: Prepared, request: Request) -> Answer:  # type: ignore[override]
        """Run the sampling loop in the library, one sample after another."""
        return generate(prepared, request)

    def prepare_model(self, model: TrainedModel) -> PreparedModel:
        """Convert the model to the library's structures."""
        return prepare_model(model)

    def train_step(  # type: ignore[override]
        self, prepared: PreparedModel, inputs: Inputs, targets: Array, ignore_index: int
    ) -> tuple[float, Array, Array | None] | None:
        """Run the step in one call of the library."""
        return train_step(prepared, inputs, targets, ignore_index)


BACKEND = C()
