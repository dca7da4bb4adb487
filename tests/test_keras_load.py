"""fastrnn.keras.load: a saved Keras model gives the same outputs in fastrnn."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

pytest.importorskip("h5py")
keras = pytest.importorskip("keras")

import fastrnn  # noqa: E402 - only where keras is installed
from fastrnn.keras import load  # noqa: E402

layers, K = keras.layers, keras.Sequential
T, B, I = 6, 4, 3  # noqa: E741 - the field's letters
LENGTHS = [6, 1, 2, 5]


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def through_a_file(model, tmp_path):
    model.set_weights([0.5 * random(*w.shape, seed=i) for i, w in enumerate(model.get_weights())])
    model.save(tmp_path / "model.keras")
    return load(tmp_path / "model.keras")


def values(found):
    """Return the outputs as a list of arrays, batch first."""
    found = [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(found)]
    return found


def agree(model, tmp_path, *inputs, lengths=None):
    """Compare a Keras model with the loaded one, within the lengths if there are any."""
    ours = through_a_file(model, tmp_path)
    assert isinstance(ours, fastrnn.Model)
    expected = values(model(inputs[0] if len(inputs) == 1 else list(inputs)))
    given = [x.swapaxes(0, 1) if x.ndim == 3 or x.dtype.kind == "i" else x for x in inputs]
    got = keras.tree.flatten(ours(*given, lengths=lengths))
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        if b.ndim == 3:
            a, b = a.swapaxes(0, 1).copy(), b.copy()
            for i, length in enumerate(lengths or []):
                assert not a[i, length:].any()
                b[i, length:] = 0
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    return ours


CELLS = {
    "lstm": (layers.LSTM, {}),
    "lstm_no_bias": (layers.LSTM, {"use_bias": False}),
    "gru": (layers.GRU, {}),
    "gru_reset_before": (layers.GRU, {"reset_after": False}),
    "gru_no_bias": (layers.GRU, {"use_bias": False}),
    "rnn": (layers.SimpleRNN, {}),
    "rnn_relu": (layers.SimpleRNN, {"activation": "relu"}),
}


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_cells(cell, go_backwards, return_sequences, tmp_path):
    kind, options = CELLS[cell]
    layer = kind(5, return_sequences=return_sequences, go_backwards=go_backwards, **options)
    agree(K([keras.Input((None, I)), layer, layers.Dense(2)]), tmp_path, random(B, T, I))


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_bidirectional(cell, merge, masked, return_sequences, tmp_path):
    layer = layers.Bidirectional(CELLS[cell][0](5, return_sequences=return_sequences), merge_mode=merge)
    x = random(B, T, I)
    if masked:
        x[np.arange(T) >= np.array(LENGTHS)[:, None]] = 0
    model = K([keras.Input((None, I)), *([layers.Masking()] if masked else []), layer])
    agree(model, tmp_path, x, lengths=LENGTHS if masked else None)


def test_a_tagger_and_its_lengths(tmp_path):
    model = K([
        layers.Embedding(9, I, mask_zero=True),
        layers.Bidirectional(layers.LSTM(5, return_sequences=True), merge_mode="sum"),
        layers.Dropout(0.5),
        layers.LSTM(4, return_sequences=True),
        layers.LSTM(4, return_sequences=True),
        layers.TimeDistributed(layers.Dense(3, activation="relu")),
        layers.Dense(2, activation="softmax"),
    ])  # fmt: skip
    ids = np.where(np.arange(T) < np.array(LENGTHS)[:, None], np.random.default_rng(0).integers(1, 9, (B, T)), 0)
    model(ids)  # builds it
    ours = agree(model, tmp_path, ids, lengths=LENGTHS)
    assert [type(layer).__name__ for layer in ours.layers.values()][:4] == ["Embedding", "LSTM", "Dropout", "LSTM"]


def test_small_layers(tmp_path):
    x = keras.Input((None, I))
    y = layers.LayerNormalization(center=False)(layers.SpatialDropout1D(0.2)(layers.Dense(5)(x)))
    pooled = layers.Concatenate()([layers.GlobalAveragePooling1D()(y), layers.GlobalMaxPooling1D()(y)])
    decoded = layers.GRU(4, return_sequences=True)(layers.RepeatVector(3)(pooled))
    agree(keras.Model(x, layers.LayerNormalization(epsilon=0.01)(decoded)), tmp_path, random(B, T, I))


def test_several_inputs_outputs_shared_layers_and_states(tmp_path):
    source, target, extra = keras.Input((None, I)), keras.Input((None, I)), keras.Input((4,))
    shared = layers.Dense(5, activation="tanh")
    _, h, c = layers.LSTM(4, return_state=True)(shared(source))
    y = layers.LSTM(4, return_sequences=True)(shared(target), initial_state=[h, c])
    gated = layers.Multiply()([layers.Average()([h, c]), layers.Dense(4, activation="sigmoid")(extra)])
    model = keras.Model([source, target, extra], [layers.Dense(2)(y), layers.Concatenate()([gated, extra])])
    agree(model, tmp_path, random(B, T, I), random(B, 3, I, seed=1), random(B, 4, seed=2))


def test_bidirectional_states_and_two_sequences(tmp_path):
    a, b = keras.Input((None, I)), keras.Input((None, I))
    x = layers.Concatenate()([a, b])
    y, z, *states = layers.Bidirectional(layers.LSTM(4, return_sequences=True, return_state=True), merge_mode=None)(x)
    again = layers.Bidirectional(layers.LSTM(4))(layers.Add()([y, z]), initial_state=states)
    agree(keras.Model([a, b], [y, z, again, *states]), tmp_path, random(B, T, I), random(B, T, I, seed=1))


def test_the_model_trains_and_streams(tmp_path):
    model = K([keras.Input((None, I)), layers.GRU(5, return_sequences=True), layers.Dense(2)])
    ours = through_a_file(model, tmp_path)
    x = random(T, B, I)
    y, backward = ours.forward(x)
    backward(np.ones_like(y))
    assert all(p.grad is not None for p in ours.parameters())
    state = None
    for t in range(T):
        y_t, state = ours.step(x[t], state=state)
    np.testing.assert_allclose(y_t, y[-1], rtol=0, atol=1e-6)


def test_errors_name_all_that_is_missing(tmp_path):
    model = K([
        keras.Input((None, I)),
        layers.Conv1D(3, 2, name="conv"),
        layers.LSTM(4, activation="relu", return_sequences=True, name="first"),
        layers.Bidirectional(layers.GRU(4, recurrent_activation="tanh"), name="second"),
        layers.Dense(2, activation="elu", name="last"),
    ])  # fmt: skip
    with pytest.raises(ValueError, match="must consist of layers that fastrnn has") as error:
        through_a_file(model, tmp_path)
    assert str(error.value).endswith(
        "got conv (Conv1D), first (LSTM with activation relu), second (Bidirectional with recurrent_activation tanh), "
        "last (Dense with activation elu)"
    )


def test_files_of_other_formats(tmp_path):
    path = tmp_path / "model.keras"
    with pytest.raises(FileNotFoundError):
        load(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"must be a .keras file of Keras 3"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match=r"must be a .keras file of Keras 3"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{")
        archive.writestr("model.weights.h5", b"none")
    with pytest.raises(ValueError, match="JSON"):
        load(path)


def test_load_does_without_keras(tmp_path, run_python):
    through_a_file(K([keras.Input((None, I)), layers.GRU(5)]), tmp_path)
    program = (
        f"import sys, fastrnn.keras; fastrnn.keras.load({str(tmp_path / 'model.keras')!r}); print('keras' in sys.modules)"
    )
    assert run_python(program).stdout.split() == ["False"]
