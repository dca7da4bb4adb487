"""Gradients and losses of Keras' layers on the kernels and on Keras' own loops; test_keras runs them for each backend."""

from __future__ import annotations

import numpy as np
import pytest
from test_keras import BACKEND, CELLS, MASKS, B, H, I, T, agree, both, fk, keras, layers, make, ops, random

if BACKEND == "numpy":
    pytest.skip("Keras' NumPy backend has no gradients", allow_module_level=True)


def gradients(layer, x, mask):
    """Return the gradients of a weighted sum of the outputs with respect to x and the weights."""
    weights = list(layer.trainable_weights)
    if BACKEND == "torch":
        import torch

        x = torch.tensor(x, requires_grad=True)
        outputs = keras.tree.flatten(layer(x, mask=None if mask is None else ops.convert_to_tensor(mask)))
        loss = sum((torch.tensor(random(*y.shape, seed=5 + i)) * y).sum() for i, y in enumerate(outputs))
        return torch.autograd.grad(loss, [x, *(w.value for w in weights)])
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = keras.tree.flatten(layer(x, mask=mask))
            loss = sum(tf.reduce_sum(random(*y.shape, seed=5 + i) * y) for i, y in enumerate(outputs))
        return tape.gradient(loss, [x, *(w.value for w in weights)])
    import jax

    def loss(x, values):
        outputs, _ = layer.stateless_call(values, [v.value for v in layer.non_trainable_variables], x, mask=mask)
        return sum((random(*y.shape, seed=5 + i) * y).sum() for i, y in enumerate(keras.tree.flatten(outputs)))

    return jax.tree.leaves(jax.grad(loss, argnums=(0, 1))(x, [w.value for w in weights]))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell, return_sequences, go_backwards, mask):
    kind, options = CELLS[cell]
    layer = make(kind, return_sequences=return_sequences, return_state=True, go_backwards=go_backwards, **options)
    agree(*both(lambda: gradients(layer, random(B, T, I), MASKS[mask]), kind.__name__))


def test_training_has_the_same_losses():
    def losses():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([
            layers.Embedding(9, I, mask_zero=True),
            layers.Bidirectional(layers.LSTM(H, return_sequences=True)),
            layers.GRU(H, dropout=0.2),
            layers.Dense(1),
        ])  # fmt: skip
        model.compile("adam", "mse")
        ids = np.array([[3, 4, 5, 0], [1, 0, 0, 0], [8, 7, 6, 5]] * 4)
        return model.fit(ids, np.ones((12, 1)), batch_size=4, epochs=3, verbose=0).history["loss"]

    expected = losses()
    with fk.accelerate() as report:
        got = losses()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    assert not report.fallbacks
    assert set(report.calls) == {"LSTM", "GRU"}


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
def test_training_of_stateful_layers_has_the_same_losses(kind):
    # On PyTorch a layer writes its new states into the old ones before backward reads these.
    x = random(8, T, I)
    x[:, 4:] = 0

    def losses():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([
            keras.Input(batch_shape=(4, T, I)),
            layers.Masking(),
            kind(H, stateful=True, return_sequences=True),
            kind(H, stateful=True),
            layers.Dense(1),
        ])  # fmt: skip
        model.compile("adam", "mse")
        return model.fit(x, np.ones((8, 1)), batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]

    expected = losses()
    with fk.accelerate() as report:
        got = losses()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    assert not report.fallbacks
