"""accelerate and restore: Keras' layers give the same values and gradients on the kernels as on Keras' own loops.

The first import of keras fixes its backend, so this file runs on NumPy, and again in a process for each other backend.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tables import each_row

keras = pytest.importorskip("keras")

import fastrnn.keras as fk  # noqa: E402 - only where keras is installed

BACKEND = keras.config.backend()
layers, ops = keras.layers, keras.ops
B, T, I, H = 4, 6, 3, 5  # noqa: E741 - the field's letters
# The options that change the equations.
CELLS = {
    "lstm": (layers.LSTM, {}),
    "lstm_no_bias": (layers.LSTM, {"use_bias": False}),
    "gru": (layers.GRU, {}),
    "gru_no_bias": (layers.GRU, {"use_bias": False}),
    "gru_reset_before": (layers.GRU, {"reset_after": False}),
    "gru_reset_before_no_bias": (layers.GRU, {"reset_after": False, "use_bias": False}),
    "rnn": (layers.SimpleRNN, {}),
    "rnn_relu": (layers.SimpleRNN, {"activation": "relu", "use_bias": False}),
}
LENGTHS = np.array([[6], [0], [2], [5]])
STEPS = np.arange(T)
MASKS = {"none": None, "right": LENGTHS > STEPS, "left": T - LENGTHS <= STEPS, "both": (STEPS >= 1) & (LENGTHS > STEPS)}
HOLES = np.array([[1, 0, 1, 1, 1, 1]] * B, bool)


def random(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def make(kind, dtype="float32", **options):
    """Return a built layer whose weights and biases are random."""
    layer = kind(H, dtype=dtype, **options)
    layer.build((B, T, I))
    layer.set_weights([0.5 * random(*w.shape, seed=i, dtype=dtype) for i, w in enumerate(layer.get_weights())])
    return layer


def flat(found):
    return [ops.convert_to_numpy(a) for a in keras.tree.flatten(found)]


def both(function, name, calls=1):
    """Return the arrays that Keras gives and those that the kernels give; the kernels must have run all calls."""
    expected = flat(function())
    with fk.accelerate() as report:
        got = flat(function())
    assert report.calls == {name: calls}, report
    assert not report.fallbacks
    return got, expected


def agree(got, expected, dtype="float32"):
    """Compare by value. On these backends Keras' operators round float64 to float32, so float64 has float32's tolerance."""
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 if dtype == "float32" else 1e-6)


def initial_state(kind, dtype):
    states = [ops.convert_to_tensor(random(B, H, seed=7 + i, dtype=dtype)) for i in range(1 + (kind is layers.LSTM))]
    return states if len(states) == 2 else states[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("zero_output", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_values(cell, zero_output, go_backwards, return_sequences, mask, state, dtype):
    if (BACKEND, dtype) == ("jax", "float64"):
        pytest.skip("Keras' own loops do not run in float64 on JAX")
    kind, options = CELLS[cell]
    layer = make(
        kind, dtype, return_sequences=return_sequences, return_state=True, go_backwards=go_backwards,
        zero_output_for_mask=zero_output, **options,
    )  # fmt: skip
    x = ops.convert_to_tensor(random(B, T, I, dtype=dtype))
    mask = None if MASKS[mask] is None else ops.convert_to_tensor(MASKS[mask])
    initial = initial_state(kind, dtype) if state else None
    agree(*both(lambda: layer(x, mask=mask, initial_state=initial), kind.__name__), dtype)


@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul", None])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_bidirectional(kind, return_sequences, masked, merge):
    layer = layers.Bidirectional(kind(H, return_sequences=return_sequences, return_state=True), merge_mode=merge)
    x, mask = ops.convert_to_tensor(random(B, T, I)), ops.convert_to_tensor(MASKS["right"]) if masked else None
    layer(x)
    layer.set_weights([0.5 * random(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    agree(*both(lambda: layer(x, mask=mask), kind.__name__, 2))


@each_row("cell", CELLS)
def test_unroll(cell):
    kind, options = CELLS[cell]
    layer, x = make(kind, unroll=True, return_sequences=True, **options), ops.convert_to_tensor(random(B, T, I))
    agree(*both(lambda: layer(x), kind.__name__))


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_stateful(kind):
    layer, x = make(kind, stateful=True, return_state=True), ops.convert_to_tensor(random(B, T, I))

    def twice():
        layer.reset_states()
        return [layer(x), layer(x)]

    got, expected = both(twice, kind.__name__, 2)
    agree(got, expected)
    assert np.abs(expected[0] - expected[-1]).max() > 1e-3  # the second call began from the first one's state


def test_a_whole_model():
    model = keras.Sequential([
        keras.Input((None,), dtype="int32"),
        layers.Embedding(9, I, mask_zero=True),
        layers.Bidirectional(layers.LSTM(H, return_sequences=True)),
        layers.GRU(H, return_sequences=True),
        layers.SimpleRNN(H),
        layers.Dense(2),
    ])  # fmt: skip
    ids = np.array([[3, 4, 5, 0], [1, 0, 0, 0], [8, 7, 6, 5]])
    expected = predicted(model, ids)
    with fk.accelerate() as report:
        got = predicted(model, ids)
    agree([got], [expected])
    assert set(report.calls) == {"LSTM", "GRU", "SimpleRNN"}
    assert not report.fallbacks


def predicted(model, x):
    """Outputs of a call that the backend compiles, if it compiles any."""
    model.make_predict_function(force=True)  # one that is compiled keeps what ran its layers
    return np.asarray(model.predict(x, verbose=0))


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_masks_in_a_compiled_call(kind, return_sequences):
    x = random(B, T, I)
    model = keras.Sequential([keras.Input((None, I)), layers.Masking(), kind(H, return_sequences=return_sequences)])
    for mask in (MASKS["right"], MASKS["both"], HOLES):
        masked = np.where(mask[:, :, None], x, 0)
        expected = predicted(model, masked)
        with fk.accelerate() as report:
            agree([predicted(model, masked)], [expected])
        known = BACKEND in ("numpy", "torch")  # else the compiled program chooses, and the kernels have the call
        assert bool(report.fallbacks) == (mask is HOLES and known)


REASONS = {
    "activation relu": {"activation": "relu"},
    "recurrent activation tanh": {"recurrent_activation": "tanh"},
    "activation linear": {"activation": None},
    "recurrent dropout": {"recurrent_dropout": 0.3},
    "dropout with implementation=1": {"dropout": 0.3, "implementation": 1, "use_cudnn": False},
    "dtype float16": {"dtype": "float16", "recurrent_initializer": "zeros"},
    "mask with holes": {"mask": HOLES},
    "mask with unroll=True": {"unroll": True, "mask": MASKS["right"]},
}


@each_row("reason", REASONS)
def test_calls_that_keras_still_runs(reason):
    options = dict(REASONS[reason])
    mask = options.pop("mask", None)
    layer = make(layers.LSTM, seed=3, **options)
    x = ops.convert_to_tensor(random(B, T, I))
    x = ops.cast(x, layer.compute_dtype)
    mask = None if mask is None else ops.convert_to_tensor(mask)
    training = "dropout" in reason
    with fk.accelerate() as report:
        got = layer(x, mask=mask, training=training)
    assert report.fallbacks == {("LSTM", reason): 1}
    assert f"LSTM: Keras ran 1 calls: {reason}" in str(report)
    if not training:
        agree(flat(got), flat(layer(x, mask=mask)))


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_dropout_draws_keras_masks(kind):
    def trained():
        layer = make(kind, dropout=0.5, seed=11)
        return layer(ops.convert_to_tensor(random(B, T, I)), training=True)

    agree(*both(trained, kind.__name__))


def test_a_cell_of_its_own_class():
    class Cell(layers.LSTMCell):
        pass

    layer = layers.LSTM(H)
    layer.cell = Cell(H)
    with fk.accelerate() as report:
        layer(random(B, T, I))
    assert report.fallbacks == {("LSTM", "cell of class Cell"): 1}


def test_restore_and_a_second_call():
    before = [vars(kind).get("inner_loop") for kind in (layers.LSTM, layers.GRU, layers.SimpleRNN)]
    report = fk.accelerate()
    assert fk.accelerate() is report
    replaced = "keras.layers.LSTM.inner_loop, keras.layers.GRU.inner_loop, keras.layers.SimpleRNN.inner_loop"
    if BACKEND == "tensorflow":
        replaced += f", {replaced.replace('inner_loop', 'supports_jit')}"
    assert str(report) == f"replaced on the {BACKEND} backend: {replaced}"
    if BACKEND == "tensorflow":
        layer = layers.SimpleRNN(H)
        assert not layer.supports_jit
    fk.restore()
    fk.restore()
    assert BACKEND != "tensorflow" or layer.supports_jit
    assert [vars(kind).get("inner_loop") for kind in (layers.LSTM, layers.GRU, layers.SimpleRNN)] == before
    make(layers.LSTM)(random(B, T, I))
    assert not report.calls


def test_unknown_versions_are_left_alone(monkeypatch):
    monkeypatch.setattr(keras, "__version__", "3.2.1")
    with pytest.raises(RuntimeError, match=r"keras must be a version from 3.12 to 3.x, got 3.2.1"):
        fk.accelerate()
    monkeypatch.undo()
    monkeypatch.setattr(layers.GRU, "inner_loop", lambda self, x: x)
    with pytest.raises(RuntimeError, match=r"GRU.inner_loop must take .*, got \['self', 'x'\] in Keras 3"):
        fk.accelerate()
    assert "inner_loop" not in vars(layers.SimpleRNN)


# Compiling takes most of the time on JAX and TensorFlow, so JAX runs the tests of one layer and of a whole model.
OTHER = [("torch", ""), ("jax", "GRU or test_a_whole_model"), ("tensorflow", "")]


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "numpy", reason="already in a process for another backend")
@pytest.mark.parametrize(("backend", "selection"), OTHER)
def test_on_another_backend(backend, selection):
    """Run the tests of Keras layers, or a selection, in a process for the backend."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    files = [
        str(Path(__file__).with_name(name)) for name in ("test_keras.py", "test_keras_gradients.py", "test_keras_layers.py")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-k", selection, "-p", "no:cacheprovider"]
    environment = os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        [*command, *files], env=environment, cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
