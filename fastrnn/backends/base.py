"""The base class of all backends. Its defaults work for all; a backend overrides those that it can do faster."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._core.arrays import Array
from ..sampling import Answer, Request
from .by_parts import ByParts
from .numpy_linear import NumpyLinear
from .numpy_pointwise import NumpyPointwise
from .numpy_sampling import step_by_step
from .numpy_training import NumpyTraining
from .structs import TIME_MAJOR, Inputs, OutputGradients, Plan, StackSpec, TrainedModel, Weights

Run = Callable[[Array, Array | None, Array | None], tuple[Array, Array, Array | None]]


class Stream:
    """A stack in one direction that runs one sequence step by step; each step is a forward pass with T = 1."""

    def __init__(self, backend: Backend, prepared: Any, h0: Array | None, c0: Array | None) -> None:
        self._backend, self._prepared = backend, prepared
        self._h, self._c = h0, c0

    def step(self, x: Array, y: Array) -> None:
        """Run one step on ``x [I]``, C-contiguous; overwrites ``y [Y]``."""
        self._run(x[None, None], y)

    def step_id(self, token: int, y: Array) -> None:
        """Run one step on a token id in -1..I-1; overwrites ``y [Y]``."""
        self._run(np.array([[token]]), y)

    def _run(self, x: Array, y: Array) -> None:
        out = self._backend.forward(self._prepared, Inputs(x, self._h, self._c))
        y[...] = out.y[0, 0]
        self._h, self._c = out.h_n, out.c_n

    def states(self, h: Array, c: Array | None) -> None:
        """Overwrite ``h [L,1,Y]`` and ``c [L,1,H]`` with the states after the last step; at least one step must have run."""
        h[...] = self._h
        if c is not None:
            c[...] = self._c


class Backend(ByParts, NumpyLinear, NumpyPointwise, NumpyTraining):
    """One implementation of the three cells, forward and backward, and of the other operations of a training step.

    The unit is a *stack* (:class:`StackSpec`); one layer is a stack of one. A *prepared* stack is the backend's own form of
    a spec and its weights, such as packed weights. It may copy the arrays in ``weights`` or keep references to them, so
    callers prepare again after a weight has changed. The caller validates all arguments.

    A backend defines ``name``, :meth:`plan` and either the three methods for one part or these for whole stacks:

    - ``prepare(spec, weights) -> prepared``, with one :class:`Weights` for each part,
    - ``forward(prepared, inputs, *, training=False, cell_states=False, memory=None) -> Outputs``; the tape is in ``memory``
      if the backend's :meth:`tape_size` is not 0 and memory of that size is given,
    - ``backward(tape, dout, gradients, *, need_dx=True) -> Gradients``, which ADDS into the :class:`Weights` of
      ``gradients``; a tape can be used once.
    """

    name: str
    takes_compressed = False  # True: prepare() accepts compressed weights, for spec.weights other than "full"

    def settings(self) -> Any:
        """Return the settings that a prepared stack depends on. The stack is up to date while they compare equal."""

    def run_of(self, prepared: Any, shape: tuple[int, ...], rows: str = TIME_MAJOR) -> Run:
        """Return ``run(x, h0, c0) -> y, h_n, c_n``, which runs inference on x of one shape, without lengths.

        ``rows`` is the order of the rows, ``TIME_MAJOR`` or ``BATCH_MAJOR``.
        """

        def run(x: Array, h0: Array | None, c0: Array | None) -> tuple[Array, Array, Array | None]:
            out = self.forward(prepared, Inputs(x, h0, c0, None, rows))
            return out.y, out.h_n, out.c_n

        return run

    def prepare_copy(self, spec: StackSpec, weights: Sequence[Weights], training: bool) -> Any:
        """Prepare a stack that keeps no reference to the arrays in ``weights``, for inference or for training as well."""
        return self.prepare(spec, [Weights(**{name: a.copy() for name, a in own.items()}) for own in weights])

    def tape_memory(self, tape: Any) -> Array:
        """Return the tape's memory as bytes, from which :meth:`tape_from` restores the tape; no bytes if it cannot."""
        return np.empty(0, np.uint8)

    def tape_size(self, spec: StackSpec) -> tuple[int, int, int, int]:
        """Return (a, b, c, d): the memory of a tape has at most ``a + b T + c B + d N`` bytes; x has N rows."""
        return 0, 0, 0, 0

    def tape_from(self, prepared: Any, inputs: Inputs, memory: Array) -> Any:
        """Return the tape of the forward pass that left this memory; run it again if it is empty or of other settings."""
        return self.forward(prepared, inputs, training=True).tape

    def hash_arrays(self, spec: StackSpec, addresses: Sequence[int], counts: Sequence[int]) -> Callable[[int, int], int]:
        """Return ``hash(phase, phases)``, a hash of the bits of arrays that may have changed since the last call.

        The arrays begin at ``addresses`` and have ``counts`` numbers of the stack's dtype. One call reads part ``phase`` of
        ``phases`` parts of them.
        """
        sizes = [n * np.dtype(spec.cell.dtype).itemsize for n in counts]
        arrays = [memoryview((ctypes.c_ubyte * n).from_address(at)) for at, n in zip(addresses, sizes, strict=True)]

        def hash_part(phase: int, phases: int) -> int:
            parts = zip(arrays, sizes, strict=True)
            return hash(tuple(zlib.crc32(a[n * phase // phases : n * (phase + 1) // phases]) for a, n in parts))

        return hash_part

    def bind(
        self, prepared: Any, x: Array, h0: Array | None, c0: Array | None, y: Array, h_n: Array, c_n: Array | None
    ) -> Callable[[], object]:
        """Return a function that runs inference from and into these arrays, at each call, without lengths.

        All are C-contiguous, and their memory stays in use. ``y``, ``h_n``, ``c_n`` are overwritten, and overlap no input.
        """
        run = self.run_of(prepared, x.shape)

        def call() -> None:
            y[...], h_n[...], cells = run(x, h0, c0)
            if c_n is not None:
                c_n[...] = cells

        return call

    def xla_handlers(self) -> dict[str, int]:
        """Return the addresses of handlers of XLA's foreign function interface by their names; none if there are none.

        ``fastrnn_xla_forward`` and ``fastrnn_xla_backward`` run a layer in one direction; ``csrc/xla.c`` specifies them.
        """
        return {}

    def xla_numbers(self, spec: StackSpec, rows: str, bias: bool, lengths: bool, need_dx: bool) -> Array:
        """Return int64 numbers for the handlers, which describe a stack of one layer and its arguments and results."""
        raise NotImplementedError

    def plan(self, spec: StackSpec, T: int, B: int) -> list[Plan]:
        """Return a plan for each part, which forward would use for this size with the current settings."""
        raise NotImplementedError

    def compile_for(self, dtype: str, training: bool, report: Callable[[int], None] | None = None) -> None:
        """Compile the code for runs in this dtype now; does nothing unless the backend compiles on first use.

        ``report`` is called with the number of functions compiled so far, first 0. It is never called if there is nothing
        to compile.
        """

    def stream(self, prepared: Any, ids: bool, h0: Array | None, c0: Array | None) -> Stream:
        """Return a stream of ids or vectors through a stack in one direction, from ``h0 [L,1,Y]`` and ``c0 [L,1,H]`` on."""
        return Stream(self, prepared, h0, c0)

    def generate(self, prepared: Any, request: Request) -> Answer:
        """Sample from a language model, as the loop of :mod:`fastrnn.backends.numpy_sampling` specifies."""
        return step_by_step(self, prepared, request)

    def prepare_model(self, model: TrainedModel) -> Any:
        """Prepare a model for :meth:`train_step`; the result refers to the model's arrays and does not copy them."""
        return model

    def train_step(
        self, prepared: Any, inputs: Inputs, targets: Array, ignore_index: int
    ) -> tuple[float, Array, Array | None] | None:
        """Run forward, loss and backward of a language model on ids ``[T,B]``; returns ``loss, h_n, c_n``.

        The loss is the mean cross-entropy in nats over the ``targets`` int64 ``[T,B]`` that are not ``ignore_index``.
        The gradients are ADDED to the model's. Returns None and adds nothing if any other target is outside 0..V-1.
        """
        model: TrainedModel = prepared
        linear = self.prepare_linear(model.weight, model.bias)
        out = self.forward(self.prepare(model.stack, model.weights), inputs, training=True)
        rows = out.y.reshape(-1, out.y.shape[-1])
        logits = self.linear_forward(linear, rows)
        found = self.softmax_cross_entropy(logits, targets.reshape(-1), None, ignore_index, True)
        if found is None:
            return None
        loss, dlogits = found
        dy = self.linear_backward(linear, rows, dlogits, model.dweight, model.dbias)
        assert dy is not None
        self.backward(out.tape, OutputGradients(dy.reshape(out.y.shape)), model.gradients, need_dx=False)
        return loss, out.h_n, out.c_n
