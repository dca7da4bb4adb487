"""An embedding and the recurrent layer that it feeds, run as one.

The first layer's input product is of rows of ``E [V,I]`` with ``W [G*H,I]``, and there are only V of them:

    forward     M = W E^T              a table [G*H, V], of which p_t = M[:, id_t] is a column: W for one-hot vectors
    backward    dM[:, id_t] += dp_t    what the kernels give as the gradient of that W
                dW += dM E             dE += dM^T W

So V rows are multiplied where it would be T*B, three times over in training, and neither x nor dx is made. Both products
with E are those of a linear layer whose weight is E and whose input is W.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..._core import memory
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

Array = NDArray[Any]
State = Any
Backward = Callable[..., tuple[Array | None, State]]

# There is a table where T*B is at least so many times V: it is made anew whenever a parameter has changed.
WORTH_A_TABLE = 4


class EmbeddedPart(Part):
    """A part of the first layer over the ids of its embedding: M takes W's place."""

    def __init__(self, part: Part, embedding: Any) -> None:
        super().__init__(replace(part.spec, input_size=embedding.num_embeddings), part.parameters)
        self._plain = part
        self._embedding = embedding

    def all_parameters(self) -> tuple[Parameter, ...]:
        """Return the part's own, then the embedding's."""
        return *self._plain.all_parameters(), self._embedding.weight

    def kernel_weights(self, backend: Backend) -> Weights:
        """Return the part's own, but M in W's place."""
        plain = check_weights(self._plain.spec, self._plain.weights())
        M = backend.linear_forward(backend.prepare_linear(self._embedding.weight.data, None), plain.W)
        return replace(plain, W=M)

    def gradients(self) -> Weights:
        """Return the part's own, but zeros for dM in dW's place."""
        return replace(self._plain.gradients(), W=memory.zeros(self.spec.shapes()["W"], self.spec.dtype))

    def use_gradients(self, backend: Backend, gradients: Weights) -> None:
        """Pass on dM to dW and dE."""
        W, E = self._plain.parameters["W"], self._embedding.weight
        with self._embedding._lock:
            dW = backend.linear_backward(backend.prepare_linear(E.data, None), W.data, gradients.W, E.gradient(), None)
        W.gradient()[...] += dW


class EmbeddedRecurrent:
    """``recurrent(before(ids))``, to be called as the recurrent layer is; ``before`` gives a row of ``weight`` for each id.

    One-hot rows are never made: the recurrent layer takes the ids. Other rows are not where a table is less work.
    """

    takes_need_dx = False

    def __init__(self, before: Layer, recurrent: Recurrent, V: int, weight: Parameter | None) -> None:
        self.before, self.recurrent = before, recurrent
        self._stack, self._enough = recurrent.stack, 0  # ids from which on the rows are not made
        if weight is not None:
            spec, D = self._stack.spec, self._stack.spec.directions
            first = [EmbeddedPart(part, before) for part in self._stack.parts[:D]]
            self._stack = PartStack(replace(spec, cell=first[0].spec), [*first, *self._stack.parts[D:]])
            self._enough = WORTH_A_TABLE * V

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copy of the recurrent layer makes its own

    def _takes(self, x: Array) -> bool:
        """Whether the recurrent layer takes the ids themselves."""
        return is_ids(x) and x.size >= self._enough

    def __call__(self, x: Array, state: State = None, lengths: Any = None) -> tuple[Array, State]:
        """Inference: ``y, state``."""
        if not self._takes(x):
            return self.recurrent(self.before(x), state, lengths)  # type: ignore[no-any-return]
        y, state = self.recurrent._infer(x, state, lengths, stack=self._stack)
        return y, state

    def stream(self, x: Array, state: State = None, lengths: Any = None) -> tuple[tuple[Array, State], State]:
        """``(y, state), state`` of the next chunk of time; see :meth:`Layer.stream`."""
        return self.recurrent._stream_through(self, x, state, lengths)

    def forward(self, x: Array, state: State = None, lengths: Any = None) -> tuple[tuple[Array, State], Backward]:
        """Training: ``(y, state), backward``; ``backward(dy, dstate=None)`` gives ``None, dstate``."""
        if self._takes(x) and not self.recurrent.input_dropout:  # which is of the rows
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
    """The two as one; None where ``before`` gives no rows of ids, or none that the recurrent layer takes.

    The recurrent layer keeps it, with its table, until another layer of ids feeds it.
    """
    kept = recurrent._embedded
    if kept is not None and kept.before is before:
        return kept
    V, weight = before.rows_of_ids() or (0, None)
    wanted = (V,) if weight is None else (*weight.shape[1:], weight.dtype)
    if not V or wanted != (recurrent.input_size, recurrent.dtype)[: len(wanted)]:
        return None
    recurrent._embedded = kept = EmbeddedRecurrent(before, recurrent, V, weight)
    return kept
