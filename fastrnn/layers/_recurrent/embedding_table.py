"""An embedding and the recurrent layer that it feeds, run as one.

The first layer's input product is of rows of ``E [V,I]`` with ``W [G*H,I]``, and there are only V of them:

    forward     M = W E^T              a table [G*H, V], of which p_t = M[:, id_t] is a column: W for one-hot vectors
    backward    dM[:, id_t] += dp_t    what the kernels give as the gradient of that W
                dW += dM E             dE += dM^T W

So V rows are multiplied where it would be T*B, three times over in training, and neither x nor dx is made. Both products
with E are those of a linear layer whose weight is E and whose input is W.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from ..._core import memory
from ..._core.parameter import Parameter
from ..._stack_validation import check_weights
from ...backends.base import Backend
from ...backends.structs import Weights
from ..dense import Embedding
from .base import Backward, Recurrent, State
from .inputs import is_ids
from .part import Part
from .part_stack import PartStack

Array = NDArray[Any]

# There is a table where T*B is at least so many times V: it is made anew whenever a parameter has changed.
WORTH_A_TABLE = 4


class EmbeddedPart(Part):
    """A part of the first layer over the ids of its embedding: M takes W's place."""

    def __init__(self, part: Part, embedding: Embedding) -> None:
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
    """``recurrent(embedding(ids))``, with a table where that is less work; to be called as the recurrent layer is."""

    takes_lengths = True

    def __init__(self, embedding: Embedding, recurrent: Recurrent) -> None:
        self.embedding = embedding
        self.recurrent = recurrent
        spec, D = recurrent.stack.spec, recurrent.stack.spec.directions
        first = [EmbeddedPart(part, embedding) for part in recurrent.stack.parts[:D]]
        self._stack = PartStack(replace(spec, cell=first[0].spec), [*first, *recurrent.stack.parts[D:]])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copy of the recurrent layer makes its own

    def _worth_a_table(self, x: Array) -> bool:
        embedding, recurrent = self.embedding, self.recurrent
        fits = (embedding.embedding_dim, embedding.dtype) == (recurrent.input_size, recurrent.dtype)
        return fits and is_ids(x) and x.ndim in (1, 2) and x.size >= WORTH_A_TABLE * embedding.num_embeddings

    def __call__(self, x: Array, state: State = None, lengths: Any = None) -> tuple[Array, State]:
        """Inference: ``y, state``."""
        if not self._worth_a_table(x):
            result: tuple[Array, State] = self.recurrent(self.embedding(x), state, lengths)
            return result
        y, state = self.recurrent._infer(x, state, lengths, stack=self._stack)
        return y, state

    def stream(self, x: Array, state: State = None, lengths: Any = None) -> tuple[tuple[Array, State], State]:
        """``(y, state), state`` of the next chunk of time; see :meth:`Layer.stream`."""
        return self.recurrent._stream_through(self, x, state, lengths)

    def forward(self, x: Array, state: State = None, lengths: Any = None) -> tuple[tuple[Array, State], Backward]:
        """Training: ``(y, state), backward``; ``backward(dy, dstate=None)`` gives ``None, dstate``."""
        if self._worth_a_table(x) and not self.recurrent.input_dropout:  # which is of the vectors
            (y, state), backward = self.recurrent._train(x, state, lengths, stack=self._stack)
            return (y, state), backward
        rows, embedding_backward = self.embedding.forward(x)
        (y, state), recurrent_backward = self.recurrent.forward(rows, state, lengths)

        def backward_both(dy: Array | None = None, dstate: State = None) -> tuple[None, State]:
            dx, dstate = recurrent_backward(dy, dstate)
            assert dx is not None
            embedding_backward(dx)
            return None, dstate

        return (y, state), backward_both


def embedded(embedding: Embedding, recurrent: Recurrent) -> EmbeddedRecurrent:
    """The two as one. The recurrent layer keeps it, with its table, until another embedding feeds it."""
    kept: EmbeddedRecurrent | None = recurrent._embedded
    if kept is None or kept.embedding is not embedding:
        recurrent._embedded = kept = EmbeddedRecurrent(embedding, recurrent)
    return kept
