"""A language model over tokens, which are characters or words: recurrent layers between token ids and logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import init
from .._core import checks, gradient_events
from .._core.arrays import Array
from ..backends.structs import TrainedModel
from ..functional import USED_TAPE
from ..layers._recurrent.inputs import is_ids
from ..layers.base import Layer
from ..layers.dense import Embedding, Linear
from ..layers.dropout import Dropout
from ..layers.recurrent import KINDS, recurrent_of_kind
from ..losses import class_id, class_ids, out_of_range, softmax_cross_entropy
from ..sampling import NOTHING, PLAIN, Answer, Choice, Request
from ._training.learning import Learner

# Standard deviation of the first values of an embedding that is also the output's weight. With 1, as for other embeddings,
# the first logits would be some ten times as large.
TIED_STD = 0.1

Backward = Callable[..., tuple[None, Any]]


def tied_sizes_error(embedding: int, hidden: int) -> str:
    """Return the error message for tied weights with unequal sizes."""
    return f"tied must be False unless embedding and hidden are equal, got True with embedding={embedding}, hidden={hidden}"


class CharModel(Layer):  # as a Model, a step with 64 units would take 1.7 to 1.9 times as long
    """Language model: ids -> (embedding) -> ``layers`` x RNN, GRU or LSTM of ``hidden`` units -> dropout -> logits.

    Calling the model runs inference: ``logits [T,B,V], state = model(ids, state=None, lengths=None)``, with integer ids
    ``[T,B]`` in -1..V-1, where -1 stands for the zero vector. States and lengths are as in the recurrent
    layers. Training runs ``(logits, state), backward = model.forward(ids, state, lengths)``, then ``_, dstate =
    backward(dlogits, dstate=None)``. Raises TypeError or ValueError naming the argument.

    Parameters
    ----------
    vocabulary_size
        number V of tokens.
    model
        ``"rnn"`` (tanh), ``"gru"`` or ``"lstm"``; an LSTM's forget gate starts with a bias of 1 (Jozefowicz et al. 2015).
    layers, hidden
        number and size of the recurrent layers.
    embedding
        size of a learned vector for each token; with 0 the first layer takes ids as one-hot vectors.
    dropout
        dropout probability between the recurrent layers and before the output, in training.
    tied
        use the embedding's table as the output's weight too (Inan et al. 2017, Press & Wolf 2017). This requires
        ``embedding == hidden``. The table is then drawn with a standard deviation of 0.1.
    dtype, rng, backend
        as in the recurrent layers.
    """

    def __init__(
        self,
        vocabulary_size: int,
        model: str = "lstm",
        layers: int = 2,
        hidden: int = 256,
        embedding: int = 0,
        dropout: float = 0.0,
        tied: bool = False,
        *,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
        backend: str | None = None,
    ) -> None:
        V = checks.positive_int("vocabulary_size", vocabulary_size)
        self.model = checks.choice("model", model, tuple(KINDS))
        checks.positive_int("layers", layers)
        checks.positive_int("hidden", hidden)
        checks.positive_int("embedding", embedding, 0)
        self.rng = rng = init.generator(rng)
        self.embedding = Embedding(V, embedding, dtype=dtype, rng=rng) if embedding else None
        options: dict[str, Any] = {"dtype": dtype, "rng": rng, "backend": backend}
        self.recurrent = recurrent_of_kind(model, embedding or V, hidden, layers, dropout, **options)
        self.dropout = Dropout(dropout, rng=rng)
        self.output = Linear(hidden, V, dtype=dtype, rng=rng, backend=backend)
        if checks.flag("tied", tied):
            self._tie(embedding)
        self._learner = Learner()

    def _tie(self, embedding: int) -> None:
        """Make the embedding's table and the output's weight one parameter."""
        if self.embedding is None or embedding != self.output.in_features:
            raise ValueError(tied_sizes_error(embedding, self.output.in_features))
        table = self.embedding.weight
        table.assign(table.data * table.dtype.type(TIED_STD))
        self.output.weight = table

    def __call__(self, ids: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:
        """Run inference: ``logits, state``; see the class."""
        y, state = self._first()(ids, state, lengths)
        return self.output(y), state

    def forward(self, ids: Array, state: Any = None, lengths: Any = None) -> tuple[tuple[Array, Any], Backward]:
        """Run the forward pass of training: ``(logits, state), backward``; see the class."""
        (y, state), recurrent_backward = self._first().forward(ids, state, lengths)
        y, dropout_backward = self.dropout.forward(y)
        logits, output_backward = self.output.forward(y)
        used = False

        def backward(dlogits: Array, dstate: Any = None) -> tuple[None, Any]:
            nonlocal used
            if used:
                raise RuntimeError(USED_TAPE)
            dy = dropout_backward(output_backward(dlogits))
            used = True
            gradients: tuple[None, Any] = recurrent_backward(dy, dstate)
            return gradients

        return (logits, state), backward

    def learn(
        self, ids: Array, targets: Array, state: Any = None, lengths: Any = None, *, ignore_index: int = -100
    ) -> tuple[float, Any]:
        """Run a training step up to the gradients, which are added to the parameters'; returns ``loss, state``.

        The loss is the mean cross-entropy in nats over the ``targets``, integers ``[T,B]`` in 0..V-1, that are not
        ``ignore_index``. Gradients do not flow through the state into the next step. Without an embedding and dropout the
        step is one call of the backend, which is faster for small models and gives the same bits. Raises TypeError or
        ValueError.
        """
        one_call = self.embedding is None and not self.dropout.p and not self.recurrent.drops
        if one_call and not gradient_events.listening():
            return self._learn(ids, targets, state, lengths, ignore_index)
        (logits, state), backward = self.forward(ids, state, lengths)
        loss, dlogits = softmax_cross_entropy(logits, targets, ignore_index=ignore_index)
        backward(dlogits)
        return loss, state

    def _learn(self, ids: Array, targets: Array, state: Any, lengths: Any, ignore_index: int) -> tuple[float, Any]:
        """Run the step of :meth:`learn` in one call of the backend."""
        recurrent, output = self.recurrent, self.output
        if not is_ids(ids):
            raise TypeError(f"ids must be an array of integer token ids, got {checks.describe(ids)}")
        layout, inputs = recurrent._check_inputs(ids, state, lengths, recurrent.input_size)
        targets = layout.inward(class_ids(targets, ids.shape))
        ignore_index = class_id("ignore_index", ignore_index)
        with recurrent._lock, output._lock:
            backend, prepared = self._learner.prepared(recurrent.backend, self._parts)
            result = backend.train_step(prepared, inputs, targets, ignore_index)
        if result is None:
            raise ValueError(out_of_range(targets, None, ignore_index, output.out_features))
        loss, h_n, c_n = result
        return loss, layout.pack_state(h_n, c_n)

    def _parts(self) -> TrainedModel:
        """Return the arrays of the model for the backend's training step."""
        stack, output = self.recurrent.stack, self.output
        weight, bias = output.arrays()
        return TrainedModel(
            stack=stack.spec,
            weights=[part.weights() for part in stack.parts],
            gradients=[part.gradients() for part in stack.parts],
            weight=weight,
            bias=bias,
            dweight=output.weight.gradient(),
            dbias=None if output.bias is None else output.bias.gradient(),
        )

    def _first(self) -> Any:
        """Return the layer that takes the ids: the recurrent one, or the one fused with the embedding."""
        return self.recurrent if self.embedding is None else self.recurrent.fused_with(self.embedding)

    def generate(
        self,
        prime: Array,
        uniforms: Array,
        state: tuple[Array, Array | None] | None = None,
        *,
        eos: int = NOTHING,
        choice: Choice = PLAIN,
        banned: int | None = None,
    ) -> Answer:
        """Sample N sequences of tokens.

        Parameters
        ----------
        prime
            int64 ``[T,N]``, the tokens before the sampled ones.
        uniforms
            float64 ``[length,N]``, random numbers, one for each token to sample.
        state
            ``(h_n, c_n)`` of an earlier answer; None is zeros.
        eos, choice
            see :class:`fastrnn.sampling.Request`.
        banned
            an id that is never chosen.
        """
        weight, bias = self.output.arrays()
        assert bias is not None
        h0, c0 = state or (None, None)
        request = Request(
            prime=np.ascontiguousarray(prime, np.int64),
            uniforms=np.ascontiguousarray(uniforms, np.float64),
            h0=h0,
            c0=c0,
            embedding=None if self.embedding is None else self.embedding.table(),
            weight=weight,
            bias=bias if banned is None else _without(banned, bias),
            eos=eos,
            choice=choice,
        )
        ready = self.recurrent.stack.prepared(self.recurrent.backend)
        answer: Answer = ready.backend.generate(ready.content, request)
        return answer


def _without(banned: int, bias: Array) -> Array:
    """Return the bias with a value for the banned id that makes its probability zero."""
    bias = bias.copy()
    bias[banned] = -1e9  # finite, so arithmetic on it cannot give NaN
    return bias
