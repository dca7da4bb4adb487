"""fastrnn.keras.LSTM, GRU and SimpleRNN: Keras layers on the kernels, on each backend."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import fastrnn.keras as fk  # noqa: E402 - only where keras is installed

layers, ops = keras.layers, keras.ops
B, T, I, H = 4, 6, 3, 5  # noqa: E741 - the field's letters
PAIRS = {"LSTM": (fk.LSTM, layers.LSTM), "GRU": (fk.GRU, layers.GRU), "SimpleRNN": (fk.SimpleRNN, layers.SimpleRNN)}
IDS = np.array([[3, 4, 5, 0], [1, 0, 0, 0], [8, 7, 6, 5]])


def tagger(rnn, gru, simple):
    keras.utils.set_random_seed(1)
    return keras.Sequential([
        keras.Input((None,), dtype="int32"),
        layers.Embedding(9, I, mask_zero=True),
        layers.Bidirectional(rnn(H, return_sequences=True), merge_mode="sum"),
        gru(H, return_sequences=True, reset_after=False),
        simple(H, activation="relu"),
        layers.Dense(2),
    ])  # fmt: skip


def output(model, x=IDS):
    return np.asarray(model.predict(x, verbose=0))


def agree(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_a_model_of_them_saves_and_loads(tmp_path):
    ours = tagger(fk.LSTM, fk.GRU, fk.SimpleRNN)
    theirs = tagger(layers.LSTM, layers.GRU, layers.SimpleRNN)
    agree(output(ours), output(theirs))  # one seed draws the same weights
    theirs.set_weights([0.5 * np.random.default_rng(i).standard_normal(w.shape) for i, w in enumerate(theirs.get_weights())])
    ours.set_weights(theirs.get_weights())
    expected = output(theirs)
    agree(output(ours), expected)
    assert ours.layers[2].report.calls["GRU"]
    assert ours.layers[1].backward_layer.report.calls["LSTM"]
    assert not ours.layers[3].report.fallbacks

    ours.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in ours.layers]
    assert type(again.layers[1].forward_layer) is fk.LSTM
    agree(output(again), expected)
    # The file is that of Keras' layers but for the classes' names.
    model = fk.load(tmp_path / "model.keras")
    agree(model(IDS.T, lengths=[3, 1, 4]), expected)


@pytest.mark.slow
def test_one_import_registers_all_for_files(tmp_path, run_python):
    path = tmp_path / "gru.keras"
    keras.Sequential([keras.Input((None, I)), fk.GRU(H)]).save(path)
    program = (
        f"import keras; from fastrnn.keras import LSTM; print(keras.models.load_model({str(path)!r}).layers[0].report.calls)"
    )
    assert run_python(program).stdout.strip() == "Counter()"  # Keras' own layers have no report


@pytest.mark.parametrize("name", PAIRS)
def test_configs(name):
    ours, theirs = PAIRS[name]
    options = {"units": H, "go_backwards": True, "return_sequences": True, "dropout": 0.3, "activation": "relu"}
    config = ours(**options).get_config()
    twin = theirs(**options).get_config()
    assert {**config, "name": ""} == {**twin, "name": ""}
    again = ours.from_config(config)
    assert again.get_config() == config
    assert keras.saving.get_registered_name(ours) == f"fastrnn>{name}"


@pytest.mark.parametrize("name", PAIRS)
def test_a_functional_model_with_states(name):
    def made(kind):
        keras.utils.set_random_seed(2)
        x, h, c = keras.Input((T, I)), keras.Input((H,)), keras.Input((H,))
        first = [h, c] if name == "LSTM" else [h]
        y, *states = kind(H, return_sequences=True, return_state=True, go_backwards=True)(x, initial_state=first)
        return keras.Model([x, *first], [y, *states])

    ours, theirs = (made(kind) for kind in PAIRS[name])
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((B, *x.shape[1:])).astype("float32") for x in ours.inputs]
    for got, expected in zip(ours.predict(arrays, verbose=0), theirs.predict(arrays, verbose=0), strict=True):
        agree(got, expected)
    assert ours.layers[-1].report.calls[name]


def test_a_call_that_keras_runs():
    x = ops.convert_to_tensor(np.ones((B, T, I), "float32"))
    layer = fk.LSTM(H, activation="relu")
    twin = layers.LSTM(H, activation="relu")
    twin.build((B, T, I))
    with fk.accelerate() as report:
        got = layer(x)
    twin.set_weights(layer.get_weights())
    agree(ops.convert_to_numpy(got), ops.convert_to_numpy(twin(x)))
    assert str(layer.report) == "LSTM: Keras ran 1 calls: activation relu"
    assert not report.calls  # the layer counts its own calls, also while accelerate is in effect
    assert not report.fallbacks


@pytest.mark.skipif(keras.config.backend() == "numpy", reason="Keras' NumPy backend does not train")
def test_training():
    ours, theirs = tagger(fk.LSTM, fk.GRU, fk.SimpleRNN), tagger(layers.LSTM, layers.GRU, layers.SimpleRNN)
    losses = []
    for model in (ours, theirs):
        keras.utils.set_random_seed(3)
        model.compile("adam", "mse")
        losses.append(model.fit(IDS, np.ones((3, 2)), epochs=4, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)
    assert not ours.layers[3].report.fallbacks
