"""The conventions of docs/interop.md for Flax: its cells, with their parameters converted, equal fastrnn.jax."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("flax")
import jax.numpy as jnp  # noqa: E402
from flax import nnx  # noqa: E402 - only where flax is installed

import fastrnn.jax  # noqa: E402

pytestmark = pytest.mark.slow
T, B, I, H = 7, 3, 4, 6  # noqa: E741 - the field's letters
LENGTHS = jnp.array([7, 2, 5])


def randomised(cell):
    """The cell with random parameters, also those that Flax sets to zero."""
    graph, state = nnx.split(cell)
    leaves, tree = jax.tree.flatten(state)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [0.5 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return nnx.merge(graph, tree.unflatten(drawn))


def gates(cell, names):
    """Kernels [out, in] one below the other, and the biases, of layers with these names; a bias that is missing is zero."""
    layers = [getattr(cell, name) for name in names]
    biases = [jnp.zeros(layer.kernel.shape[1]) if layer.bias is None else layer.bias[...] for layer in layers]
    return jnp.concatenate([layer.kernel[...].T for layer in layers]), jnp.concatenate(biases)


CELLS = {
    "LSTMCell": (fastrnn.jax.lstm, ["ii", "if_", "ig", "io"], ["hi", "hf", "hg", "ho"]),
    "OptimizedLSTMCell": (fastrnn.jax.lstm, ["dense_i"], ["dense_h"]),
    "GRUCell": (fastrnn.jax.gru, ["dense_i"], ["dense_h"]),
    "SimpleCell": (fastrnn.jax.rnn, ["dense_i"], ["dense_h"]),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_cells(name, reverse):
    function, inputs, recurrent = CELLS[name]
    cell = randomised(getattr(nnx, name)(I, H, rngs=nnx.Rngs(0)))
    (W, b_ih), (R, b_hh) = gates(cell, inputs), gates(cell, recurrent)
    x = jax.random.normal(jax.random.key(0), (B, T, I))
    layer = nnx.RNN(cell, return_carry=True, reverse=reverse, keep_order=True)
    last, y = layer(x, seq_lengths=LENGTHS)
    states = (None, None) if "LSTM" in name else (None,)
    got, *after = function(x, *states, W, R, b_ih, b_hh, lengths=LENGTHS, reverse=reverse, batch_first=True)
    for b, length in enumerate(LENGTHS):
        np.testing.assert_allclose(got[b, :length], y[b, :length], atol=1e-5)
    wanted = reversed(last) if "LSTM" in name else [last]  # Flax's carry of an LSTM is c, h
    for mine, theirs in zip(after, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
