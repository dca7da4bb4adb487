"""The C backend: the library of ``csrc/`` under the protocol.

The library allocates nothing. Outputs and tapes come from :mod:`fastrnn.memory`; workspaces are kept by each thread and
grow to the largest size that it needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..memory import empty
from .c_both import backward_both, forward_both
from .c_calls import Call, Kernel, input_fields, kernel_of, linear_call, params_fields
from .c_learn import PreparedLearner, learn
from .c_library import (
    DTYPES,
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
from .c_stack import PreparedStack, forward_stack, layers_at_once
from .c_stream import Stream
from .c_training import CTraining
from .protocol import CellSpec, Forward, Params, Plan

if TYPE_CHECKING:
    from ..sampling import Answer, Request
    from ..text.learning import Parts

__all__ = ["BACKEND", "info", "isa_names", "set_isa"]

Array = NDArray[Any]

_SPLITS = {lib.FASTRNN_SPLIT_NONE: "none", lib.FASTRNN_SPLIT_BATCH: "batch", lib.FASTRNN_SPLIT_HIDDEN: "hidden"}


class Prepared:
    """A layer with packed weights: for inference at once, for training when a tape is first asked for."""

    __slots__ = ("_inference", "_training", "kernel", "params")

    def __init__(self, spec: CellSpec, params: Params) -> None:
        self.kernel = kernel_of(spec, settings.isa)
        self.params = params
        self._inference: Any = None
        self._training: Any = None

    def packed(self, training: bool) -> Any:
        """The packed weights. Two threads may both pack for the first time; either result serves."""
        packed = self._training if training or self._inference is None else self._inference
        if packed is not None:
            return packed
        packed = self._pack(training)
        if training:
            self._training = packed  # serves inference too
        else:
            self._inference = packed
        return packed

    def _pack(self, training: bool) -> Any:
        layer = self.kernel.layer
        packed = from_buffer(aligned(lib.fastrnn_packed_size(layer, training)))
        lib.fastrnn_pack(layer, [params_fields(self.params)], training, packed)
        return packed


@dataclass(slots=True)
class Tape:
    """What backward needs: the inputs, the packed weights and the library's own tape."""

    kernel: Kernel
    call: Call
    packed: Any
    x: Array
    memory: Array


class PreparedLinear:
    """A linear layer with packed weights."""

    __slots__ = ("out_features", "packed", "sizes")

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self.out_features, in_features = weight.shape
        self.sizes = (settings.isa, DTYPES[weight.dtype.name], in_features, self.out_features)
        self.packed = from_buffer(aligned(lib.fastrnn_linear_packed_size([self.sizes], True)))
        lib.fastrnn_linear_pack([self.sizes], pointer(weight), pointer(bias), True, self.packed)

    def call(self, N: int, backward: bool) -> tuple[Any, Any]:
        """The layer as one call sees it, with its number of threads, and a workspace for that."""
        linear, size = linear_call(self.sizes, lib.fastrnn_get_num_threads(), N, backward)
        return linear, take_workspace(size)


class C(CTraining):
    """The backend; see :class:`fastrnn.backends.protocol.Backend`."""

    name = "c"

    def settings(self) -> Any:
        """The instruction set in use: layouts follow from it."""
        return settings.isa

    def prepare(self, spec: CellSpec, params: Params) -> Prepared:
        """Pack the weights when they are first used."""
        return Prepared(spec, params)

    def forward(
        self,
        prepared: Prepared,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: Array | None = None,
        *,
        reverse: bool = False,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> Forward:
        """Run over time."""
        kernel = prepared.kernel
        call = kernel.call(x, lengths, reverse, keep_tape)
        packed, dtype, empty = prepared.packed(keep_tape), kernel.dtype, call.empty
        y, h_n = empty(call.y, dtype), empty(call.h, dtype)
        c_n = empty(call.c, dtype) if call.c else None
        c = empty(call.cells, dtype) if cell_states and call.c else None
        memory = aligned(call.tape) if keep_tape else None
        output = [(from_buffer(y), from_buffer(h_n), pointer(c_n), pointer(c))]
        inputs = [input_fields(x, pointer(h0), pointer(c0))]
        workspace = take_workspace(call.workspace)
        lib.fastrnn_forward(kernel.layer, packed, call.batch, inputs, output, pointer(memory), workspace)
        return Forward(y, h_n, c_n, c, None if memory is None else Tape(kernel, call, packed, x, memory))

    def backward(
        self,
        tape: Tape,
        dy: Array | None,
        dh_n: Array | None,
        dc_n: Array | None,
        dc: Array | None,
        grads: Params,
        *,
        need_dx: bool = True,
    ) -> tuple[Array | None, Array, Array | None]:
        """All gradients; the tape is used up."""
        kernel, call = tape.kernel, tape.call
        layer, dtype, empty = kernel.layer, kernel.dtype, call.empty
        dx = empty(call.dx, dtype) if need_dx and not call.ids else None
        dh0 = empty(call.h, dtype)
        dc0 = empty(call.c, dtype) if call.c else None
        lib.fastrnn_backward(
            layer,
            tape.packed,
            call.batch,
            [input_fields(tape.x)],
            [[pointer(a) for a in (dy, dh_n, dc_n, dc)]],
            [[pointer(a) for a in (dx, dh0, dc0)]],
            [params_fields(grads)],
            ffi.from_buffer(tape.memory),
            take_workspace(lib.fastrnn_backward_workspace_size(layer, call.batch, call.ids)),
        )
        return dx, dh0, dc0

    def forward_both(
        self,
        prepared: Sequence[Prepared],
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: Array | None = None,
        *,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> Forward:
        """Side by side, where that is faster."""
        out, kept = forward_both(prepared, x, h0, c0, lengths, keep_tape, cell_states)
        out.tape = [Tape(prepared[0].kernel, call, packed, x, memory) for call, packed, memory in kept]
        return out

    def backward_both(
        self,
        tapes: Sequence[Tape],
        dy: Array | None,
        dh_n: Array | None,
        dc_n: Array | None,
        dc: Array | None,
        grads: Sequence[Params],
        *,
        need_dx: bool = True,
    ) -> tuple[Array | None, Array, Array | None]:
        """Side by side, where that is faster; the tapes are used up."""
        return backward_both(tapes, dy, dh_n, dc_n, dc, grads, need_dx)

    def plan(self, spec: CellSpec, T: int, B: int, directions: int = 1) -> Plan:
        """What forward would use now."""
        split, threads = ffi.new("int32_t *"), ffi.new("int32_t *")
        layer = kernel_of(spec, settings.isa).layer
        at_once = lib.fastrnn_plan(layer, [{"T": T, "B": B, "directions": directions}], False, split, threads)
        isa = ffi.string(lib.fastrnn_isa_name(layer.isa)).decode()
        return Plan(self.name, isa, _SPLITS[split[0]], threads[0], at_once)

    def prepare_linear(self, weight: Array, bias: Array | None) -> PreparedLinear:
        """Pack the weights."""
        return PreparedLinear(weight, bias)

    def linear_forward(self, prepared: PreparedLinear, x: Array) -> Array:
        """y."""
        N = len(x)
        linear, workspace = prepared.call(N, False)
        y = empty((N, prepared.out_features), x.dtype)
        lib.fastrnn_linear_forward(linear, prepared.packed, N, pointer(x), pointer(y), workspace)
        return y

    def linear_backward(
        self, prepared: PreparedLinear, x: Array, dy: Array, dW: Array, db: Array | None, *, need_dx: bool = True
    ) -> Array | None:
        """dx; adds into dW and db."""
        N = len(x)
        linear, workspace = prepared.call(N, True)
        dx = empty(x.shape, x.dtype) if need_dx else None
        arrays = [pointer(a) for a in (x, dy, dx, dW, db)]
        lib.fastrnn_linear_backward(linear, prepared.packed, N, *arrays, workspace)
        return dx

    def prepare_stack(self, layers: Sequence[Prepared]) -> PreparedStack:
        """Layers on top of each other, for :meth:`forward_stack`."""
        return PreparedStack(layers)

    forward_stack = staticmethod(forward_stack)
    layers_at_once = staticmethod(layers_at_once)

    def stream(self, stack: Sequence[Prepared], ids: bool, h0: Array | None, c0: Array | None) -> Stream:
        """The layers, laid out to be fed step by step."""
        return Stream(stack, ids, h0, c0)

    def prepare_learner(self, parts: Parts) -> PreparedLearner:
        """A language model for :meth:`learn`."""
        return PreparedLearner(parts)

    learn = staticmethod(learn)

    def generate(self, stack: Sequence[Prepared], request: Request) -> Answer:
        """The whole sampling loop in the library, one sample after another."""
        from .c_generate import generate

        return generate(stack, request)


BACKEND = C()
