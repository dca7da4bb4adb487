"""The model that improvises: some inputs per token, recurrent layers, and the logits of the next token.

Letters: ``T`` tokens, ``B`` songs in a batch, ``V`` tokens in the vocabulary, ``E`` embedding size, ``H`` hidden size.

.. code-block:: text

    token    [T,B]     the previous token, -1 at the beginning
    chord    [T,B,24]  the chord at the time of the next token: its 12 pitch classes, its root one-hot
    position [T,B]     that time in ticks after the bar line
    last     [T,B]     the last pitch, 0..P-1, -1 if there is none yet
    before   [T,B]     the pitch before the last
    form     [T,B,38]  the place in the form and the age of the phrase
    recalled [T,B,10]  the tokens that repeat what was played 1, 2, 4, 8 and 16 bars ago, -1 for none
    run      [T,B,5]   for each of these bars, the number of tokens in succession that repeated it

    x      = concat(E token, F position, chord, relation, form, remembered, run)   E [V,E], F [96,16]
    y      = layers x LSTM(x), dropout
    logits = pitch logits of O concat(y, chord, relation) + b
             + repeat logits of G concat(y, remembered, run) + c

:mod:`fastrnn.music._theory.intervals` defines ``relation`` and the pitch logits, :mod:`fastrnn.music._theory.repetition`
``remembered`` and the repeat logits, :mod:`fastrnn.music._model.form` and :mod:`fastrnn.music._model.memory` the last three
inputs. Chord and relation also go straight to the output, so the layers in between learn the line and not the tones of a
chord. Without memory, the last three inputs and what is made of them are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import init
from .._core import checks
from ..graph import Input, Model
from ..layers import Concat, Dropout, Embedding, Linear, OneHot
from ..layers._recurrent.base import Recurrent
from ..layers.recurrent import KINDS, recurrent_of_kind
from ..training._run.model_size import recurrent_count
from ._model.form import FORM
from ._model.memory import K
from ._theory.intervals import RELATION, PitchLogits, Relation
from ._theory.repetition import REMEMBERED, Remembered, RepeatLogits
from .piece import TICKS
from .vocabulary import PITCH, PartVocabulary

if TYPE_CHECKING:
    from ._model.options import JazzOptions

CHORD = 24  # features: 12 pitch classes, and the root among 12
POSITIONS = 8 * TICKS  # in a bar: the last one stands for all later ones
POSITION_SIZE = 16  # of the embedding of positions
MEMORY = (REMEMBERED + 1) * K  # features: what is remembered, and the runs


def jazz_model(
    vocabulary: PartVocabulary,
    *,
    model: str = "lstm",
    layers: int = 2,
    hidden: int = 160,
    embedding: int = 64,
    dropout: float = 0.0,
    memory: bool = True,
    dtype: Any = "float32",
    rng: np.random.Generator | int | None = None,
    backend: str | None = None,
) -> Model:
    """Build ``logits [T,B,V] = model(token, chord, position, last, before, form, recalled, run)``, by the equations above.

    Parameters
    ----------
    vocabulary
        The tokens; their number is V.
    model
        The kind of recurrent layers: ``"rnn"``, ``"gru"`` or ``"lstm"``.
    layers, hidden
        The number of recurrent layers and their size H.
    embedding
        The size E of the token embedding. With 0, tokens are one-hot, so E is the identity.
    dropout
        The probability to drop a value between the layers and before the output.
    memory
        False leaves out the last three inputs.
    dtype, rng, backend
        As in the layers.

    Raises
    ------
    TypeError, ValueError
        The message names the argument.
    """
    checks.choice("model", model, tuple(KINDS))
    checks.positive_int("embedding", embedding, 0)
    weights: dict[str, Any] = {"dtype": dtype, "rng": init.generator(rng)}
    V, spoken = len(vocabulary), PitchLogits.of(vocabulary)
    token, chord, position, last, before, *others = inputs = _inputs(dtype, memory)
    tokens = (Embedding(V, embedding, **weights) if embedding else OneHot(V, dtype=dtype)).named("tokens")(token)
    places = Embedding(POSITIONS, POSITION_SIZE, **weights).named("positions")(position)
    relation = Relation(vocabulary.pitches, vocabulary.low)(chord, last, before)
    past = []
    if memory:
        form, recalled, run = others
        past = [Remembered(vocabulary)(recalled, chord, last), run]
        others = [form, *past]
    size = input_size(embedding, V, memory)
    recurrent = recurrent_of_kind(model, size, hidden, layers, dropout, backend=backend, **weights)
    y, _ = recurrent.named("recurrent")(Concat()(tokens, places, chord, relation, *others))
    y = Dropout(dropout, rng=weights["rng"])(y)
    heard = Concat()(y, chord, relation)
    raw = Linear(hidden + CHORD + RELATION, spoken.inputs, backend=backend, **weights).named("output")(heard)
    logits = spoken(raw, chord, last)
    if memory:
        gates = Linear(hidden + MEMORY, 2 * K, backend=backend, **weights).named("gates")(Concat()(y, *past))
        logits = RepeatLogits()(logits, gates, recalled)
    return Model(inputs, logits)


def _inputs(dtype: Any, memory: bool) -> tuple[Any, ...]:
    """Make the model's inputs, in order."""

    def ids(name: str, *axes: int) -> Any:
        return Input(("T", "B", *axes), dtype="int64", name=name)

    def values(name: str, size: int) -> Any:
        return Input(("T", "B", size), dtype=dtype, name=name)

    first = ids("token"), values("chord", CHORD), ids("position"), ids("last"), ids("before")
    return (*first, values("form", FORM), ids("recalled", 2 * K), values("run", K)) if memory else first


def input_size(embedding: int, V: int, memory: bool) -> int:
    """Return the input size of the recurrent layers for V tokens."""
    return (embedding or V) + POSITION_SIZE + CHORD + RELATION + memory * (FORM + MEMORY)


def parameter_count(options: JazzOptions, vocabulary: PartVocabulary) -> int:
    """Count the weights of the :func:`jazz_model` that the options describe."""
    E, V = options.embedding, len(vocabulary)
    embedded = V * E + POSITIONS * POSITION_SIZE
    output = (options.hidden + CHORD + RELATION + 1) * PitchLogits.of(vocabulary).inputs
    gates = options.memory * (options.hidden + MEMORY + 1) * 2 * K
    return embedded + recurrent_count(options, input_size(E, V, options.memory)) + output + gates


def has_memory(model: Model) -> bool:
    """Return whether a :func:`jazz_model` takes the last three inputs."""
    return len(model.inputs) > 5


def taken(model: Model, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the first ``inputs``, as many as a :func:`jazz_model` takes."""
    return inputs[: len(model.inputs)]


def recurrent_of(model: Model) -> Recurrent:
    """Return the recurrent layers of a :func:`jazz_model`."""
    layer = model.layers["recurrent"]
    assert isinstance(layer, Recurrent)
    return layer


def in_bar(position: NDArray[Any]) -> NDArray[np.int64]:
    """Convert ticks after the bar line to ids of positions, of the same shape."""
    places: NDArray[np.int64] = np.minimum(position, POSITIONS - 1).astype(np.int64)
    return places


def last_pitches(ids: NDArray[Any], vocabulary: PartVocabulary) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``last, before``, int64 ``[N]``: the last two pitches before each token of ``ids [N]``, -1 for none."""
    is_pitch = vocabulary.kinds()[ids] == PITCH
    said = np.concatenate([[-1, -1], ids[is_pitch] - vocabulary.first_pitch]).astype(np.int64)
    count = np.concatenate([[0], np.cumsum(is_pitch)[:-1]])
    return said[count + 1], said[count]
