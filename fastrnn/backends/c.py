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
from .c_library import DTYPES, aligned, ffi, info, int64s, isa_names, lib, pointer, set_isa, settings, take_workspace
from .protocol import CellSpec, Forward, Params, Plan

if TYPE_CHECKING:
    from ..text.sampling import Answer, Request

__all__ = ["BACKEND", "info", "isa_names", "set_isa"]

Array = NDArray[Any]

_SPLITS = {lib.FASTRNN_SPLIT_NONE: "none", lib.FASTRNN_SPLIT_BATCH: "batch", lib.FASTRNN_SPLIT_HIDDEN: "hidden"}


def _cell(spec: CellSpec) -> int:
    """The library's number for the cell's variant."""
    if spec.cell == "rnn":
        name = "RNN_TANH" if spec.nonlinearity == "tanh" else "RNN_RELU"
    elif spec.cell == "gru":
        name = "GRU_NO_RESET" if not spec.reset_gate else "GRU" if spec.reset_after else "GRU_RESET_BEFORE"
    else:
        name = "LSTM_PEEPHOLE" if spec.peephole else "LSTM"
    return int(getattr(lib, f"FASTRNN_{name}"))


def _layer(spec: CellSpec) -> Any:
    sizes = (spec.input_size, spec.hidden_size, spec.proj_size)
    return ffi.new("fastrnn_layer *", (settings.isa, DTYPES[spec.dtype], _cell(spec), *sizes))


class Prepared:
    """A layer with packed weights: for inference at once, for training when a tape is first asked for."""

    def __init__(self, spec: CellSpec, params: Params) -> None:
        self.spec = spec
        self.params = params
        self.layer = _layer(spec)
        self._inference: Array | None = None
        self._training: Array | None = None

    def packed(self, training: bool) -> Array:
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

    def _pack(self, training: bool) -> Array:
        packed = aligned(lib.fastrnn_packed_size(self.layer, training))
        p = self.params
        arrays = [pointer(a) for a in (p.W, p.R, p.b_ih, p.b_hh, p.peephole, p.projection)]
        lib.fastrnn_pack(self.layer, ffi.new("fastrnn_params *", arrays), training, ffi.from_buffer(packed))
        return packed


@dataclass(slots=True)
class Tape:
    """What backward needs: the inputs, the packed weights and the library's own tape."""

    prepared: Prepared
    packed: Array
    x: Array
    lengths: Array | None
    reverse: bool
    memory: Array


def _batch(x: Array, lengths: Array | None, reverse: bool) -> Any:
    return ffi.new("fastrnn_batch *", (*x.shape[:2], int64s(lengths), reverse, lib.fastrnn_get_num_threads()))


def _input(x: Array, h0: Array | None, c0: Array | None) -> Any:
    dense, ids = (x, None) if x.ndim == 3 else (None, x)
    return ffi.new("fastrnn_input *", (pointer(dense), int64s(ids), pointer(h0), pointer(c0)))


class PreparedLinear:
    """A linear layer with packed weights."""

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self.sizes = (settings.isa, DTYPES[weight.dtype.name], weight.shape[1], weight.shape[0])
        linear = ffi.new("fastrnn_linear *", self.sizes)
        self.packed = aligned(lib.fastrnn_linear_packed_size(linear, True))
        lib.fastrnn_linear_pack(linear, pointer(weight), pointer(bias), True, ffi.from_buffer(self.packed))

    def call(self, N: int, backward: bool) -> tuple[Any, Any]:
        """The layer as one call sees it, with its number of threads, and a workspace for that."""
        linear = ffi.new("fastrnn_linear *", (*self.sizes, lib.fastrnn_get_num_threads()))
        return linear, take_workspace(lib.fastrnn_linear_workspace_size(linear, N, backward))


class C:
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
        h0: Array,
        c0: Array | None,
        lengths: Array | None = None,
        *,
        reverse: bool = False,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> Forward:
        """Run over time."""
        spec, layer = prepared.spec, prepared.layer
        (T, B), ids = x.shape[:2], x.ndim == 2
        batch = _batch(x, lengths, reverse)
        packed = prepared.packed(keep_tape)
        has_c = c0 is not None
        out = Forward(
            y=empty((T, B, spec.output_size), spec.dtype),
            h_n=empty((B, spec.output_size), spec.dtype),
            c_n=empty((B, spec.hidden_size), spec.dtype) if has_c else None,
            c=empty((T, B, spec.hidden_size), spec.dtype) if cell_states and has_c else None,
        )
        memory = None
        if keep_tape:
            memory = aligned(lib.fastrnn_tape_size(layer, batch, ids))
            out.tape = Tape(prepared, packed, x, lengths, reverse, memory)
        output = ffi.new("fastrnn_output *", [pointer(a) for a in (out.y, out.h_n, out.c_n, out.c)])
        workspace = take_workspace(lib.fastrnn_forward_workspace_size(layer, batch, ids, keep_tape))
        inputs = _input(x, h0, c0)
        lib.fastrnn_forward(layer, ffi.from_buffer(packed), batch, inputs, output, pointer(memory), workspace)
        return out

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
        spec, layer = tape.prepared.spec, tape.prepared.layer
        (T, B), ids = tape.x.shape[:2], tape.x.ndim == 2
        batch = _batch(tape.x, tape.lengths, tape.reverse)
        dx = empty((T, B, spec.input_size), spec.dtype) if need_dx and not ids else None
        dh0 = empty((B, spec.output_size), spec.dtype)
        dc0 = empty((B, spec.hidden_size), spec.dtype) if spec.cell == "lstm" else None
        dout = ffi.new("fastrnn_output_grads *", [pointer(a) for a in (dy, dh_n, dc_n, dc)])
        din = ffi.new("fastrnn_input_grads *", [pointer(a) for a in (dx, dh0, dc0)])
        g = grads
        added = [pointer(a) for a in (g.W, g.R, g.b_ih, g.b_hh, g.peephole, g.projection)]
        lib.fastrnn_backward(
            layer,
            ffi.from_buffer(tape.packed),
            batch,
            _input(tape.x, None, None),
            dout,
            din,
            ffi.new("fastrnn_grads *", added),
            ffi.from_buffer(tape.memory),
            take_workspace(lib.fastrnn_backward_workspace_size(layer, batch, ids)),
        )
        return dx, dh0, dc0

    def plan(self, spec: CellSpec, T: int, B: int) -> Plan:
        """What forward would use now."""
        split, threads = ffi.new("int32_t *"), ffi.new("int32_t *")
        layer, batch = _layer(spec), ffi.new("fastrnn_batch *", (T, B))
        lib.fastrnn_plan(layer, batch, split, threads)
        isa = ffi.string(lib.fastrnn_isa_name(layer.isa)).decode()
        return Plan(self.name, isa, _SPLITS[split[0]], threads[0])

    def prepare_linear(self, weight: Array, bias: Array | None) -> PreparedLinear:
        """Pack the weights."""
        return PreparedLinear(weight, bias)

    def linear_forward(self, prepared: PreparedLinear, x: Array) -> Array:
        """y."""
        N = len(x)
        linear, workspace = prepared.call(N, False)
        y = empty((N, linear.O), x.dtype)
        packed = ffi.from_buffer(prepared.packed)
        lib.fastrnn_linear_forward(linear, packed, N, pointer(x), pointer(y), workspace)
        return y

    def linear_backward(
        self, prepared: PreparedLinear, x: Array, dy: Array, dW: Array, db: Array | None, *, need_dx: bool = True
    ) -> Array | None:
        """dx; adds into dW and db."""
        N = len(x)
        linear, workspace = prepared.call(N, True)
        dx = empty(x.shape, x.dtype) if need_dx else None
        arrays = [pointer(a) for a in (x, dy, dx, dW, db)]
        lib.fastrnn_linear_backward(linear, ffi.from_buffer(prepared.packed), N, *arrays, workspace)
        return dx

    def generate(self, stack: Sequence[Prepared], request: Request) -> Answer:
        """The whole sampling loop in the library, one sample after another."""
        from .c_generate import generate

        return generate(stack, request)


BACKEND = C()
