"""What a backend is: a base class whose defaults work, and of which a backend overrides what it does better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sampling import Answer, Request
from .by_parts import ByParts
from .numpy_linear import NumpyLinear
from .numpy_sampling import step_by_step
from .numpy_training import NumpyTraining
from .structs import Inputs, OutputGradients, Plan, StackSpec, TrainedModel

Array = NDArray[Any]
Run = Callable[[Array, Array | None, Array | None], tuple[Array, Array, Array | None]]


class Stream:
    """A stack in one direction that is fed one sequence step by step; each step is a forward pass with T = 1."""

    def __init__(self, backend: Backend, prepared: Any, h0: Array | None, c0: Array | None) -> None:
        self._backend, self._prepared = backend, prepared
        self._h, self._c = h0, c0

    def step(self, x: Array, y: Array) -> None:
        """Go on by ``x [I]``, C-contiguous; overwrites ``y [Y]``."""
        self._run(x[None, None], y)

    def step_id(self, token: int, y: Array) -> None:
        """Go on by a token id in -1..I-1; overwrites ``y [Y]``."""
        self._run(np.array([[token]]), y)

    def _run(self, x: Array, y: Array) -> None:
        out = self._backend.forward(self._prepared, Inputs(x, self._h, self._c))
        y[...] = out.y[0, 0]
        self._h, self._c = out.h_n, out.c_n

    def states(self, h: Array, c: Array | None) -> None:
        """Overwrite ``h [L,1,Y]`` and ``c [L,1,H]`` with the states after the last step; there must have been one."""
        h[...] = self._h
        if c is not None:
            c[...] = self._c


class Backend(ByParts, NumpyLinear, NumpyTraining):
    """One implementation of the three cells, forward and backward, and of what a training step needs besides.

    The unit is a *stack* (:class:`StackSpec`); one layer is a stack of one. A *prepared* stack is the backend's own form of
    a spec and its weights, such as packed weights. It may go on referring to the arrays in ``weights`` or copy them;
    callers prepare again after a weight has changed. Arguments are validated by the caller.

    A backend defines ``name``, :meth:`plan` and either the three methods of one part or those of whole stacks:

    - ``prepare(spec, weights) -> prepared``, with :class:`Weights` of each part,
    - ``forward(prepared, inputs, *, training=False, cell_states=False) -> Outputs``,
    - ``backward(tape, dout, gradients, *, need_dx=True) -> Gradients``, which ADDS into the :class:`Weights` of
      ``gradients``; a tape serves once.
    """

    name: str

    def settings(self) -> Any:
        """Return what a prepared stack depends on besides its weights: while it compares equal, the stack stays current."""

    def run_of(self, prepared: Any, shape: tuple[int, ...]) -> Run:
        """Return ``run(x, h0, c0)``, which gives ``y, h_n, c_n``: inference on many x of one shape, without lengths."""

        def run(x: Array, h0: Array | None, c0: Array | None) -> tuple[Array, Array, Array | None]:
            out = self.forward(prepared, Inputs(x, h0, c0))
            return out.y, out.h_n, out.c_n

        return run

    def plan(self, spec: StackSpec, T: int, B: int) -> list[Plan]:
        """Return what forward would use for this size, with the present settings: a plan for each part."""
        raise NotImplementedError

    def compile_for(self, dtype: str, training: bool, tell: Callable[[int], None] | None = None) -> None:
        """Compile at once what a run in this dtype needs, if the backend compiles when it is first used.

        ``tell`` is called with the number of functions compiled so far: 0 at the beginning, never if there is nothing to do.
        """

    def stream(self, prepared: Any, ids: bool, h0: Array | None, c0: Array | None) -> Stream:
        """Return a stack in one direction, to be fed ids or vectors step by step from ``h0 [L,1,Y]``, ``c0 [L,1,H]``."""
        return Stream(self, prepared, h0, c0)

    def generate(self, prepared: Any, request: Request) -> Answer:
        """Sample from a language model: the loop of :mod:`fastrnn.backends.numpy_sampling` specifies it."""
        return step_by_step(self, prepared, request)

    def prepare_model(self, model: TrainedModel) -> Any:
        """Make a model ready for :meth:`train_step`; it goes on referring to the model's arrays."""
        return model

    def train_step(
        self, prepared: Any, inputs: Inputs, targets: Array, ignore_index: int
    ) -> tuple[float, Array, Array | None] | None:
        """Run forward, loss and backward of a language model on ids ``[T,B]``: ``loss, h_n, c_n``.

        The loss is the mean cross-entropy in nats of the ``targets`` int64 ``[T,B]`` that are not ``ignore_index``.
        Gradients are ADDED to. None, with nothing added, if another target is not in 0..V-1.
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
