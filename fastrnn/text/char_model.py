"""A language model over tokens, characters or words: recurrent layers between token ids and logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import backends, checks, init
from ..layers.base import Layer
from ..layers.dense import Embedding, Linear
from ..layers.door import is_ids
from ..layers.dropout import Dropout
from ..layers.embedded import EmbeddedRecurrent, embedded
from ..layers.recurrent import GRU, LSTM, RNN
from ..layers.recurrent_base import Recurrent
from ..losses import class_ids, out_of_range, softmax_cross_entropy
from ..sampling import NOTHING, PLAIN, Answer, Choice, Request, State, generate
from .learning import Learner, Parts

Array = NDArray[Any]
Backward = Callable[..., tuple[None, Any]]

MODELS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


class CharModel(Layer):
    """ids -> (embedding) -> ``layers`` x RNN, GRU or LSTM of ``hidden`` units -> dropout -> logits over V tokens.

    ``model``
        ``"rnn"`` (tanh), ``"gru"`` or ``"lstm"``, whose forget gate starts with a bias of 1 (Jozefowicz et al. 2015).
    ``embedding``
        the size of a learned vector for each token; 0 feeds ids to the first layer as one-hot vectors.
    ``dropout``
        between the recurrent layers and before the output, in training.

    Calling it runs inference: ``logits [T,B,V], state = model(ids, state=None, lengths=None)``, with integer ids
    ``[T,B]`` in -1..V-1, -1 for the zero vector, and states and lengths as the recurrent layers have them. Training:
    ``(logits, state), backward = model.forward(ids, state, lengths)``, then ``_, dstate = backward(dlogits,
    dstate=None)``. Raises TypeError and ValueError naming the argument.
    """

    def __init__(
        self,
        vocabulary_size: int,
        model: str = "lstm",
        layers: int = 2,
        hidden: int = 256,
        embedding: int = 0,
        dropout: float = 0.0,
        *,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
        backend: str | None = None,
    ) -> None:
        V = checks.positive_int("vocabulary_size", vocabulary_size)
        self.model = checks.choice("model", model, tuple(MODELS))
        checks.positive_int("layers", layers)
        checks.positive_int("hidden", hidden)
        checks.positive_int("embedding", embedding, 0)
        self.rng = rng = init.generator(rng)
        options: dict[str, Any] = {"dtype": dtype, "rng": rng, "backend": backend}
        if model == "lstm":
            options["forget_bias"] = 1.0
        self.embedding = Embedding(V, embedding, dtype=dtype, rng=rng) if embedding else None
        between = dropout if layers > 1 else 0.0
        self.recurrent = MODELS[model](embedding or V, hidden, layers, dropout=between, **options)
        self.dropout = Dropout(dropout, rng=rng)
        self.output = Linear(hidden, V, dtype=dtype, rng=rng, backend=backend)
        self._learner = Learner()

    def __call__(self, ids: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Any]:
        """Inference: ``logits, state``; see the class."""
        y, state = self._first()(ids, state, lengths)
        return self.output(y), state

    def forward(self, ids: Array, state: Any = None, lengths: Any = None) -> tuple[tuple[Array, Any], Backward]:
        """Training: ``(logits, state), backward``; see the class."""
        (y, state), recurrent_backward = self._first().forward(ids, state, lengths)
        y, dropout_backward = self.dropout.forward(y)
        logits, output_backward = self.output.forward(y)

        def backward(dlogits: Array, dstate: Any = None) -> tuple[None, Any]:
            dy = dropout_backward(output_backward(dlogits))
            _, dstate = recurrent_backward(dy, dstate)
            return None, dstate

        return (logits, state), backward

    def learn(
        self, ids: Array, targets: Array, state: Any = None, lengths: Any = None, *, ignore_index: int = -100
    ) -> tuple[float, Any]:
        """A training step up to the gradients, which it adds to: ``loss, state``.

        The loss is the mean cross-entropy in nats of the ``targets``, integers ``[T,B]`` in 0..V-1, that are not
        ``ignore_index``; the state is cut off from the next step's gradients. Without an embedding and dropout it is one
        call of the backend, where that has one: quicker for small models, and the same bits. Raises TypeError, ValueError.
        """
        if self.embedding is None and not self.dropout.p and not self.recurrent.drops:
            result = self._learn(ids, targets, state, lengths, ignore_index)
            if result is not None:
                return result
        (logits, state), backward = self.forward(ids, state, lengths)
        loss, dlogits = softmax_cross_entropy(logits, targets, ignore_index=ignore_index)
        backward(dlogits)
        return loss, state

    def _learn(self, ids: Array, targets: Array, state: Any, lengths: Any, ignore_index: int) -> tuple[float, Any] | None:
        """:meth:`learn` in one call of the backend; None if it has no such call."""
        recurrent, output = self.recurrent, self.output
        if not is_ids(ids):
            raise TypeError(f"ids must be an array of integer token ids, got {checks.describe(ids)}")
        layout, x, h0, c0, lengths = recurrent._enter(recurrent._rows, ids, state, lengths)
        targets = layout.inward(class_ids(targets, ids.shape))
        with recurrent._lock, output._lock:
            backend, prepared = self._learner.prepared(recurrent.backend, self._parts)
            if prepared is None:
                return None
            result = cast("Any", backend).learn(prepared, x, targets, h0, c0, lengths, ignore_index)
        if result is None:
            raise ValueError(out_of_range(targets, None, ignore_index, output.out_features))
        loss, h_n, c_n = result
        return loss, layout.pack_state(h_n, c_n)

    def _parts(self) -> Parts:
        """What the backend learns with."""
        directions, output = [row[0] for row in self.recurrent._rows], self.output
        return Parts(
            specs=tuple(direction.spec for direction in directions),
            params=tuple(direction.params(direction.parameters(self.recurrent)) for direction in directions),
            grads=tuple(direction.gradients(self.recurrent) for direction in directions),
            weight=output.weight.values,
            bias=None if output.bias is None else output.bias.values,
            dweight=output.weight.gradient(),
            dbias=None if output.bias is None else output.bias.gradient(),
        )

    def _first(self) -> Recurrent | EmbeddedRecurrent:
        """What takes the ids."""
        return self.recurrent if self.embedding is None else embedded(self.embedding, self.recurrent)

    def generate(
        self,
        prime: Array,
        uniforms: Array,
        states: tuple[State, ...] | None = None,
        *,
        eos: int = NOTHING,
        choice: Choice = PLAIN,
        banned: int | None = None,
    ) -> Answer:
        """Sample after ``prime`` int64 ``[T,N]`` as many tokens as ``uniforms`` float64 ``[length,N]`` has rows.

        ``states`` are those of an earlier answer (None: zeros), ``banned`` an id that is never chosen. For the rest see
        :class:`fastrnn.sampling.Request`.
        """
        bias = self._bias(banned)
        request = Request(
            prime=np.ascontiguousarray(prime, np.int64),
            uniforms=np.ascontiguousarray(uniforms, np.float64),
            states=self._zero_states(prime.shape[1]) if states is None else states,
            embedding=None if self.embedding is None else self.embedding.weight.data,
            weight=self.output.weight.data,
            bias=bias,
            eos=eos,
            choice=choice,
        )
        return generate(backends.current(self.recurrent.backend), self.recurrent.prepared(), request)

    def _bias(self, banned: int | None) -> Array:
        assert self.output.bias is not None
        bias = self.output.bias.data
        if banned is not None:
            bias = bias.copy()
            bias[banned] = -1e9  # finite, so that no arithmetic on it can give NaN; its probability is zero
        return bias

    def _zero_states(self, N: int) -> tuple[State, ...]:
        recurrent = self.recurrent
        shape = (N, recurrent.hidden_size)

        def one() -> State:
            return np.zeros(shape, recurrent.dtype), np.zeros(shape, recurrent.dtype) if self.model == "lstm" else None

        return tuple(one() for _ in range(recurrent.num_layers))
