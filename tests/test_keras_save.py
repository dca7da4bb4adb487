"""fastrnn.keras.to_keras and save: a fastrnn model gives the same outputs in Keras."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import fastrnn.keras as fk  # noqa: E402 - only where keras is installed
from fastrnn import (  # noqa: E402
    GRU,
    LSTM,
    RNN,
    Activation,
    Add,
    Average,
    Concat,
    Dropout,
    Embedding,
    Input,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Model,
    Multiply,
    OneHot,
    RepeatVector,
    Reshape,
    Sequential,
    Stack,
    TokenDropout,
    VariationalDropout,
)
from fastrnn.layers._symbolic.symbols import flat  # noqa: E402

T, B, I, H = 6, 4, 3, 5  # noqa: E741 - the field's letters
LENGTHS = [6, 1, 2, 5]
X = Input(("T", "B", I))


def random(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def batch_first(array):
    """Sequences ``[T, B, ...]`` and states ``[L*D, B, H]`` as Keras has them."""
    return array.swapaxes(0, 1) if array.ndim > 2 or array.dtype.kind == "i" else array


def in_keras(model, *arrays):
    found = model([keras.ops.convert_to_tensor(a) for a in arrays] if len(arrays) > 1 else arrays[0])
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(found)]


def agree(model, *arrays, **options):
    """Compare a model's outputs with those of its Keras model, which is returned."""
    theirs = fk.to_keras(model, **options)
    expected = [batch_first(y) for y in flat(model(*arrays))]
    got = in_keras(theirs, *map(batch_first, arrays))
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    return theirs


CELLS = {
    "lstm": (LSTM, {}),
    "lstm_no_bias": (LSTM, {"bias": False}),
    "gru": (GRU, {}),
    "gru_no_bias": (GRU, {"bias": False}),
    "gru_reset_before": (GRU, {"reset_after": False}),
    "rnn": (RNN, {}),
    "rnn_relu": (RNN, {"nonlinearity": "relu"}),
}


# The merge modes do not depend on the cell, so the quick set shows each with one cell.
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    ("cell", "merge"),
    [
        pytest.param(cell, merge, marks=() if cell == "lstm" or merge in (None, "concat") else pytest.mark.slow)
        for cell in CELLS
        for merge in (None, "concat", "sum", "mul", "average")
    ],
)
def test_a_layer_and_its_states(cell, merge, layers):
    kind, options = CELLS[cell]
    both = {} if merge is None else {"bidirectional": True, "merge": merge}
    agree(kind(I, H, layers, rng=0, **both, **options), random(T, B, I))


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
def test_initial_states_and_float64(kind, tmp_path):
    layer = kind(I, H, 2, bidirectional=True, rng=0, dtype="float64")
    x = Input(("T", "B", I), "float64")
    first = [Input((4, "B", H), "float64") for _ in range(2 if kind is LSTM else 1)]
    y, last = layer(x, tuple(first) if kind is LSTM else first[0])
    arrays = [random(T, B, I, dtype="float64"), *(random(4, B, H, seed=i, dtype="float64") for i, _ in enumerate(first))]
    model = Model((x, *first), (y, last))
    agree(model, *arrays)
    fk.save(model, tmp_path / "model.keras")  # its inputs were read as float32, which layers of float64 refuse
    for a, b in zip(flat(fk.load(tmp_path / "model.keras")(*arrays)), flat(model(*arrays)), strict=True):
        assert a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


def test_files_of_a_tagger_and_back(tmp_path):
    tagger = Sequential(
        Embedding(9, I, rng=0), GRU(I, H, bidirectional=True, rng=1), VariationalDropout(0.2), LayerNorm(2 * H),
        LSTM(2 * H, H, 2, dropout=0.3, input_dropout=0.1, rng=2), Dropout(0.5), Linear(H, 2, rng=3), Activation("softmax"),
    )  # fmt: skip
    tagger.named("tagger")
    ids = np.random.default_rng(0).integers(1, 9, (T, B))
    fk.save(tagger, tmp_path / "tagger.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["tagger.keras"]
    theirs = keras.models.load_model(tmp_path / "tagger.keras")
    assert theirs.name == "tagger"
    np.testing.assert_allclose(in_keras(theirs, ids.T)[0], tagger(ids).swapaxes(0, 1), rtol=0, atol=1e-5)


def test_what_load_reads_goes_back(tmp_path):
    x, h = Input(("T", "B", I)), Input(("B", 4))
    y, _ = LSTM(I, H, rng=0, bidirectional=True, merge="sum")(x)
    z, h_n = GRU(H, H, 2, rng=2)(y)
    both = Multiply()(Linear(H, 4, rng=1)(h_n[0]), h)
    model = Model((x, h), (Concat()(both, h), y[..., 1:3][::-1], h_n, LayerNorm(H)(Last()(z))))
    fk.save(model, tmp_path / "model.keras")
    again = fk.load(tmp_path / "model.keras")
    arrays = random(T, B, I), random(B, 4, seed=1)
    for a, b in zip(again(*arrays), model(*arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_small_layers():
    wide = Linear(I, 4, rng=0, bias=False)(X)
    y, h = GRU(4, 4, 2, bidirectional=True, merge="average", rng=1)(wide)
    joined = Concat()(Add()(wide, y), Average()(wide, y), Activation("gelu_tanh")(y))
    pooled = Concat()(Last()(joined), MeanPool()(joined), MaxPool()(joined), y[0], joined[-1])
    folded = Reshape((2, 2))(y)
    turned = Reshape((4,))(folded * folded)[::-1]
    steps = Stack()(h[0], h[-1], Stack(axis=-1)(h[1], h[2])[..., 1])
    outputs = pooled, folded, turned, steps, h[1:3], RepeatVector(3)(pooled)
    agree(Model(X, outputs), random(T, B, I))


def test_shared_layers_models_in_models_and_names():
    inner = Model(X, Linear(I, I, rng=0).named("out")(X)).named("inner")
    gru = GRU(I, I, rng=1).named("gru")
    first, h = gru(inner(X))
    second, _ = gru(inner(first), h)
    theirs = agree(Model(X, (second, h)).named("whole"), random(T, B, I))
    assert theirs.count_params() == sum(p.values.size for layer in (inner, gru) for p in layer.parameters())
    assert {"out", "gru"} <= {layer.name for layer in theirs.layers}


def test_ids_and_batch_first():
    ids = np.random.default_rng(0).integers(0, 7, (T, B))
    agree(Sequential(OneHot(7), GRU(7, H, rng=0), Last(), Linear(H, 2, rng=1)), ids)
    agree(GRU(7, H, rng=0), ids, shape=("T", "B"), dtype="int64")
    model = Sequential(Embedding(7, I, rng=0), LSTM(I, H, batch_first=True, rng=1), MeanPool(), Linear(H, 2, rng=2))
    np.testing.assert_allclose(in_keras(fk.to_keras(model), ids.T)[0], model(ids.T), rtol=0, atol=1e-5)


@pytest.mark.parametrize("ids", [False, True])
def test_masks_take_the_place_of_lengths(ids):
    first = Embedding(9, I, rng=0) if ids else Linear(I, I, bias=False, rng=0)
    source = Input(("T", "B"), "int64") if ids else X
    y, h = GRU(I, H, 2, bidirectional=True, rng=1)(first(source))
    z, _ = LSTM(2 * H, H, rng=2)(y)
    model = Model(source, (z, h, MeanPool()(z)))
    arrays = np.random.default_rng(0).integers(1, 9, (T, B)) if ids else random(T, B, I)
    arrays[np.arange(T)[:, None] >= np.array(LENGTHS)] = 0
    expected = [batch_first(a) for a in flat(model(arrays, lengths=LENGTHS))]
    for a, b in zip(in_keras(fk.to_keras(model, mask_zero=True), batch_first(arrays)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_errors():
    cases = [
        (LSTM(I, H, proj_size=2, rng=0).named("first"), "first cannot be exported: Keras' LSTM has no proj_size"),
        (LSTM(I, H, peephole=True, rng=0), "LSTM cannot be exported: Keras' LSTM has no peephole"),
        (GRU(I, H, reset_gate=False, rng=0), "GRU cannot be exported: Keras' GRU has no reset_gate=False"),
        (GRU(I, H, rng=0).compress("int8"), "GRU cannot be exported: Keras' GRU has no compression"),
        (
            Sequential(TokenDropout(0.1, 0), Embedding(9, I)),
            "TokenDropout cannot be exported: Keras has no layer like TokenDropout",
        ),
        (Model(X, LSTM(I, H, rng=0)(X, return_cell_states=True)[2]), "does not return the cell states of all steps"),
    ]
    for model, message in cases:
        with pytest.raises(ValueError, match=message):
            fk.to_keras(model)
    with pytest.raises(
        ValueError, match="Last cannot be exported: Keras does not pass its mask on, so mask_zero must be False"
    ):
        fk.to_keras(Sequential(GRU(I, H, rng=0), Last()), mask_zero=True)
    # Keras passes a mask on by itself only to a layer with one argument, so padding changed the states.
    h = Input((1, "B", H))
    with pytest.raises(ValueError, match="GRU cannot be exported: Keras does not pass its mask on next to initial states"):
        fk.to_keras(Model((X, h), GRU(I, H, rng=0)(X, h)[1]), mask_zero=True)
    with pytest.raises(TypeError, match="model must be a fastrnn layer, got 3"):
        fk.to_keras(3)
    with pytest.raises(ValueError, match=r"path must end with .keras, got x.h5"):
        fk.save(GRU(I, H, rng=0), "x.h5")
    with pytest.raises(ValueError, match="shape and dtype must be None for a Model"):
        fk.to_keras(Model(X, X + X), shape=("T", "B", I))
