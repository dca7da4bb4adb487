"""Models in float64 for the tests of the functional API. Each has inputs, and a function that computes it in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrnn import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Concat,
    Embedding,
    Input,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Model,
    Multiply,
)

F64 = {"dtype": "float64"}
SIZES = {"T": 5, "S": 4, "B": 3}


@dataclass
class Case:
    """``torch(m, *inputs)`` computes the model's outputs from tensors; ``m`` maps the layers' names to torch's modules."""

    model: Model
    torch: Callable[..., Any]
    ids: int = 6  # token ids are smaller than this

    def inputs(self, seed: int = 0, sizes: dict[str, int] = SIZES) -> list[np.ndarray]:
        """Return random arrays for the model."""
        rng = np.random.default_rng(seed)
        shapes = [(tuple(sizes.get(a, a) for a in s.shape), s.dtype) for s in self.model.graph.flat_inputs]
        return [rng.integers(0, self.ids, shape) if d == "int64" else rng.standard_normal(shape) for shape, d in shapes]


def siamese() -> Case:
    """Return a model of two sequences through the same layers: a shared GRU, its final state, the mean of its outputs."""
    a, b = Input(("T", "B", 3), **F64, name="a"), Input(("S", "B", 3), **F64, name="b")
    before, gru = Linear(3, 4, **F64, rng=1), GRU(4, 5, **F64, rng=2)
    (y_a, h_a), (_, h_b) = gru(before(a)), gru(before(b))
    alike = Multiply()(Last()(y_a), MeanPool()(gru(before(b))[0]))
    out = Linear(10, 2, **F64, rng=3)(Concat()(alike, MaxPool()(y_a)))

    def torch(m, a, b):
        y_a, h_a = m["gru"](m["linear"](a))
        y_b, h_b = m["gru"](m["linear"](b))
        import torch as t

        return m["linear_1"](t.cat([y_a[-1] * y_b.mean(0), y_a.amax(0)], -1)), h_a + h_b

    return Case(Model((a, b), (out, h_a + h_b)), torch)


def words_and_features() -> Case:
    """Return a model of token ids, of a vector for each id, and of one for the whole sequence; it has two outputs."""
    words = Input(("T", "B"), dtype="int64", name="words")
    features, whole = Input(("T", "B", 2), **F64, name="features"), Input(("B", 3), **F64, name="whole")
    x = Concat()(Embedding(6, 4, **F64, rng=1)(words), features)
    y, _ = LSTM(6, 5, 2, bidirectional=True, **F64, rng=2)(x)
    tags = Linear(10, 3, **F64, rng=3)(y)
    label = Linear(13, 2, **F64, rng=4)(Concat()(MeanPool()(y), Activation("tanh")(Linear(3, 3, **F64, rng=5)(whole))))

    def torch(m, words, features, whole):
        import torch as t

        y, _ = m["lstm"](t.cat([m["embedding"](words), features], -1))
        return m["linear"](y), m["linear_2"](t.cat([y.mean(0), t.tanh(m["linear_1"](whole))], -1))

    return Case(Model((words, features, whole), (tags, label)), torch)


def encoder_decoder() -> Case:
    """Return an encoder-decoder with one embedding for both; the decoder starts from the encoder's final states."""
    source = Input(("S", "B"), dtype="int64", name="source")
    target = Input(("T", "B"), dtype="int64", name="target")
    embedding = Embedding(6, 3, **F64, rng=1)
    _, state = LSTM(3, 4, **F64, rng=2).named("encoder")(embedding(source))
    y, (h, c) = LSTM(3, 4, **F64, rng=3).named("decoder")(embedding(target), state)

    def torch(m, source, target):
        _, state = m["encoder"](m["embedding"](source))
        y, state = m["decoder"](m["embedding"](target), state)
        return m["linear"](y), state

    return Case(Model((source, target), (Linear(4, 6, **F64, rng=4)(y), (h, c))), torch)


def residual() -> Case:
    """Return a model with skip connections, two directions and layer normalisation, in which three layers read one value."""
    x = Input(("T", "B", 6), **F64, name="x")
    y, h = GRU(6, 3, bidirectional=True, **F64, rng=1)(x)
    a = LayerNorm(6, **F64)(x + y)
    z, _ = LSTM(6, 6, **F64, rng=2)(a)
    out = Linear(6, 2, **F64, rng=3)(z + a + x)

    def torch(m, x):
        y, h = m["gru"](x)
        a = m["layernorm"](x + y)
        return m["linear"](m["lstm"](a)[0] + a + x), h

    return Case(Model(x, (out, h)), torch)


def feed_forward() -> Case:
    """Return a model of feed-forward layers around two recurrent ones; the first one's final state starts the second."""
    x = Input(("T", "B", 3), **F64, name="x")
    wide = Activation("relu")(Linear(3, 7, **F64, rng=1)(x))
    y, h = RNN(7, 4, **F64, rng=2)(wide)
    z, _ = GRU(5, 4, **F64, rng=3)(Activation("sigmoid")(Linear(4, 5, **F64, rng=4)(y)), h)
    out = Linear(6, 1, **F64, rng=5)(Activation("tanh")(Linear(4, 6, **F64, rng=6)(Last()(z))))

    def torch(m, x):
        import torch as t

        y, h = m["rnn"](m["linear"](x).relu())
        z, _ = m["gru"](m["linear_1"](y).sigmoid(), h)
        return m["linear_3"](t.tanh(m["linear_2"](z[-1])))

    return Case(Model(x, out), torch)


def shared_model() -> Case:
    """Return a model that contains another one twice, on different time axes."""
    x = Input(("T", "B", 3), **F64, name="x")
    y, h = GRU(3, 4, **F64, rng=1)(x)
    inner = Model(x, (Linear(4, 3, **F64, rng=2)(y), h)).named("inner")
    a, b = Input(("S", "B", 3), **F64, name="a"), Input(("T", "B", 3), **F64, name="b")
    (once, h_a), (twice, _) = inner(a), inner(inner(b)[0])
    out = MeanPool()(once) + Last()(twice)

    def torch(m, a, b):
        def inner(x):
            y, h = m["inner.gru"](x)
            return m["inner.linear"](y), h

        return inner(a)[0].mean(0) + inner(inner(b)[0])[0][-1], inner(a)[1]

    return Case(Model((a, b), (out, h_a)), torch)


CASES = {
    make.__name__: make for make in (siamese, words_and_features, encoder_decoder, residual, feed_forward, shared_model)
}
