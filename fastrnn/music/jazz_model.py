"""The model that improvises: what it is told at each token, and the layers between that and the next token's logits.

Letters: ``T`` tokens, ``B`` songs side by side, ``V`` tokens in the vocabulary, ``E`` embedding size, ``H`` hidden size.

.. code-block:: text

    token    [T,B]     the token before, -1 at the beginning
    chord    [T,B,24]  what sounds where the next one stands: its 12 pitch classes, its root one-hot
    position [T,B]     how far into the bar that is, in ticks
    last     [T,B]     the last pitch, 0..P-1, -1 where there is none yet
    before   [T,B]     the one before it

    x      = concat(E token, F position, chord, relation)     E = tokens [V,E], F = positions [96,16]
    y      = layers x LSTM(x), dropout
    logits = pitch logits of O concat(y, chord, relation) + b

``relation`` and the pitch logits are those of :mod:`fastrnn.music._theory.intervals`. Chord and relation also go straight to
the output: the layers in between then have the line to learn, and not which tones a chord has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import init
from .._core import checks
from ..graph import Input, Model
from ..layers import Concat, Dropout, Embedding, Linear, OneHot
from ..layers._recurrent.base import Recurrent
from ..layers.recurrent import GRU, LSTM, RNN
from ..training._run.model_size import recurrent_count
from ..training._run.options import RunOptions
from ._theory.intervals import RELATION, PitchLogits, Relation
from .piece import TICKS
from .vocabulary import PITCH, PartVocabulary

CELLS: dict[str, Any] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
CHORD = 24  # features: 12 pitch classes, and the root among 12
POSITIONS = 8 * TICKS  # in a bar: the last one stands for all that come later
POSITION_SIZE = 16  # of their embedding


def jazz_model(
    vocabulary: PartVocabulary,
    *,
    model: str = "lstm",
    layers: int = 2,
    hidden: int = 160,
    embedding: int = 64,
    dropout: float = 0.0,
    dtype: Any = "float32",
    rng: np.random.Generator | int | None = None,
    backend: str | None = None,
) -> Model:
    """``logits [T,B,V] = model(token, chord, position, last, before)``, which token comes next, by the equations above.

    Dropout is between the layers and before the output. With an ``embedding`` of 0 tokens are one-hot: E is the identity.
    Raises TypeError or ValueError naming the argument.
    """
    checks.choice("model", model, tuple(CELLS))
    checks.positive_int("embedding", embedding, 0)
    weights: dict[str, Any] = {"dtype": dtype, "rng": init.generator(rng)}
    V, spoken = len(vocabulary), PitchLogits.of(vocabulary)
    token, chord, position, last, before = inputs = _inputs(dtype)
    tokens = (Embedding(V, embedding, **weights) if embedding else OneHot(V, dtype=dtype)).named("tokens")(token)
    places = Embedding(POSITIONS, POSITION_SIZE, **weights).named("positions")(position)
    relation = Relation(vocabulary.pitches, vocabulary.low)(chord, last, before)
    options: dict[str, Any] = {"dropout": dropout if layers > 1 else 0.0, "backend": backend, **weights}
    if model == "lstm":
        options["forget_bias"] = 1.0
    recurrent = CELLS[model](input_size(embedding, V), hidden, layers, **options).named("recurrent")
    y, _ = recurrent(Concat()(tokens, places, chord, relation))
    heard = Concat()(Dropout(dropout, rng=weights["rng"])(y), chord, relation)
    raw = Linear(hidden + CHORD + RELATION, spoken.inputs, backend=backend, **weights).named("output")(heard)
    return Model(inputs, spoken(raw, chord, last))


def _inputs(dtype: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The model's five, in their order."""

    def ids(name: str) -> Any:
        return Input(("T", "B"), dtype="int64", name=name)

    chord: Any = Input(("T", "B", CHORD), dtype=dtype, name="chord")
    return ids("token"), chord, ids("position"), ids("last"), ids("before")


def input_size(embedding: int, V: int) -> int:
    """The size of what the recurrent layers are given, for so many tokens."""
    return (embedding or V) + POSITION_SIZE + CHORD + RELATION


def parameter_count(options: RunOptions, vocabulary: PartVocabulary) -> int:
    """The number of weights of the :func:`jazz_model` that the options describe."""
    E, V = options.embedding, len(vocabulary)
    embedded = V * E + POSITIONS * POSITION_SIZE
    output = (options.hidden + CHORD + RELATION + 1) * PitchLogits.of(vocabulary).inputs
    return embedded + recurrent_count(options, input_size(E, V)) + output


def recurrent_of(model: Model) -> Recurrent:
    """Its recurrent layers."""
    layer = model.layers["recurrent"]
    assert isinstance(layer, Recurrent)
    return layer


def in_bar(position: NDArray[Any]) -> NDArray[np.int64]:
    """Ticks after the bar line as ids of positions, of the same shape."""
    places: NDArray[np.int64] = np.minimum(position, POSITIONS - 1).astype(np.int64)
    return places


def last_pitches(ids: NDArray[Any], vocabulary: PartVocabulary) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``last, before``, int64 ``[N]``: at each token of ``ids [N]`` the last pitch said before it, and the one before."""
    is_pitch = vocabulary.kinds()[ids] == PITCH
    said = np.concatenate([[-1, -1], ids[is_pitch] - vocabulary.first_pitch]).astype(np.int64)
    count = np.concatenate([[0], np.cumsum(is_pitch)[:-1]])
    return said[count + 1], said[count]
