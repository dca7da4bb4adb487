"""An embedding fused with the recurrent layer after it.

The first layer's input product multiplies rows of ``E [V,I]`` by ``W [G*H,I]``, and E has only V different rows:

    forward     M = W E^T              a table [G*H, V] whose column M[:, id_t] is p_t; M is the W for one-hot vectors
    backward    dM[:, id_t] += dp_t    the kernels' gradient of that W
                dW += dM E             dE += dM^T W

So V rows are multiplied instead of T*B, in all three products of a training step, and neither x nor dx is built. The
products with E are the forward and backward of a linear layer with weight E and input W.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..._core import memory
from ..._core.arrays import Array
from ..._core.parameter import Parameter
from ..._stack_validation import check_weights
from ...backends.base import Backend
from ...backends.structs import Weights
from ..base import Layer
from .inputs import is_ids
from .part import Part
from .part_stack import PartStack

if TYPE_CHECKING:
    from .base import Recurrent

State = Any
Backward = Callable[..., tuple[Array | None, State]]

# A table is used if T*B is at least this many times V, because it is rebuilt after each change of a parameter.
MIN_IDS_PER_ROW = 4


class EmbeddedPart(Part):
    """A part of the first layer that takes ids, with the table M instead of W."""

    def __init__(self, part: Part, embedding: Any) -> None:
        super().__init__(replace(part.spec, input_size=embedding.num_embeddings), part.parameters)
        self._plain = part
        self._embedding = embedding

    def all_parameters(self) -> tuple[Parameter, ...]:
        """Return the part's parameters, then the embedding's weight."""
        return *self._plain.all_parameters(), self._embedding.weight

    def kernel_weights(self, backend: Backend) -> Weights:
        """Return the part's weights with M instead of W."""
        plain = check_weights(self._plain.spec, self._plain.weights())
        M = backend.linear_forward(backend.prepare_linear(self._embedding.table(), None), plain.W)
        return replace(plain, W=M)

    def gradients(self) -> Weights:
        """Return the part's gradients with zeros for dM instead of dW."""
        return replace(self._plain.gradients(), W=memory.zeros(self.spec.shapes()["W"], self.spec.dtype))

    def use_gradients(self, backend: Backend, gradients: Weights) -> None:
        """Propagate dM to dW and dE."""
        W, E = self._plain.parameters["W"], self._embedding.weight
        with self._embedding._lock:
            dW = backend.linear_backward(backend.prepare_linear(E.data, None), W.data, gradients.W, E.gradient(), None)
        W.gradient()[...] += dW


class EmbeddedRecurrent:
    """``recurrent(before(ids))`` with the recurrent layer's interface; ``before`` looks up a row of ``weight`` for each id.

    One-hot rows (``weight`` is None) are never built, because the recurrent layer takes the ids. Rows of an embedding are
    built only if there are too few ids to make a table worthwhile.
    """

    takes_need_dx = False

    def __init__(self, before: Layer, recurrent: Recurrent, V: int, weight: Parameter | None) -> None:
        self.before, self.recurrent = before, recurrent
        self._stack, self._min_ids = recurrent.stack, 0  # with fewer ids, look up their rows and run on those
        if recurrent.compression and weight is not None:
            self._min_ids = sys.maxsize  # a table would be in float32
        elif weight is not None:
            spec, D = self._stack.spec, self._stack.spec.directions
            first = [EmbeddedPart(part, before) for part in self._stack.parts[:D]]
            self._stack = PartStack(replace(spec, cell=first[0].spec), [*first, *self._stack.parts[D:]])
            self._min_ids = MIN_IDS_PER_ROW * V

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copy of the recurrent layer makes a new one

    def _takes_ids(self, x: Array) -> bool:
        """Return whether the recurrent layer takes the ids themselves."""
        return is_ids(x) and x.size >= self._min_ids

    def __call__(self, x: Array, state: State = None, lengths: Any = None) -> tuple[Array, State]:
        """Run inference: ``y, state``."""
        if not self._takes_ids(x):
            return self.recurrent(self.before(x), state, lengths)  # type: ignore[no-any-return]
        y, state = self.recurrent._infer(x, state, lengths, stack=self._stack)
        return y, state

    def stream(self, x: Array, state: State = None, lengths: Any = None) -> tuple[tuple[Array, State], State]:
        """Run the next chunk of time: ``(y, state), state``; see :meth:`Layer.stream`."""
        return self.recurrent._stream_through(self, x, state, lengths)

    def forward(self, x: Array, state: State = None, lengths: Any = None) -> tuple[tuple[Array, State], Backward]:
        """Run the forward pass of training: ``(y, state), backward``; ``backward(dy, dstate)`` returns ``None, dstate``."""
        if self._takes_ids(x) and not self.recurrent.input_dropout:  # input dropout needs the rows
            (y, state), backward = self.recurrent._train(x, state, lengths, stack=self._stack)
            return (y, state), backward
        rows, rows_backward = self.before.forward(x)
        (y, state), recurrent_backward = self.recurrent.forward(rows, state, lengths)

        def backward_both(dy: Array | None = None, dstate: State = None) -> tuple[None, State]:
            dx, dstate = recurrent_backward(dy, dstate)
            rows_backward(dx)
            return None, dstate

        return (y, state), backward_both


def embedded(before: Layer, recurrent: Recurrent) -> EmbeddedRecurrent | None:
    """Fuse two layers; None if ``before`` does not look up rows of ids or its rows do not fit the recurrent layer.

    The recurrent layer caches the result, with its table, until another layer of ids comes before it.
    """
    fused = recurrent._embedded
    if fused is not None and fused.before is before:
        return fused
    V, weight = before.rows_of_ids() or (0, None)
    wanted = (V,) if weight is None else (*weight.shape[1:], weight.dtype)
    if not V or wanted != (recurrent.input_size, recurrent.dtype)[: len(wanted)]:
        return None
    recurrent._embedded = fused = EmbeddedRecurrent(before, recurrent, V, weight)
    return fused
