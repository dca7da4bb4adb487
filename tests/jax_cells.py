"""The cells of fastrnn.jax, the same values by lax.scan, and comparisons of both."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

import fastrnn.jax as fj  # noqa: E402 - only where jax is installed

T, B, I, H = 6, 4, 3, 5  # noqa: E741 - the field's letters
LENGTHS = np.array([6, 0, 2, 5])


def _lstm(p, q, state):
    _, c = state
    i, f, g, o = jnp.split(p + q, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru(p, q, state):
    (pr, pz, pn), (qr, qz, qn) = jnp.split(p, 3, -1), jnp.split(q, 3, -1)
    r, z = jax.nn.sigmoid(pr + qr), jax.nn.sigmoid(pz + qz)
    return ((1 - z) * jnp.tanh(pn + r * qn) + z * state[0],)


CELLS = {
    "lstm": (fj.lstm, 4, _lstm, {}),
    "gru": (fj.gru, 3, _gru, {}),
    "gru_reset_before": (fj.gru, 3, None, {"reset_after": False}),
    "rnn": (fj.rnn, 1, lambda p, q, state: (jnp.tanh(p + q),), {}),
    "rnn_relu": (fj.rnn, 1, lambda p, q, state: (jax.nn.relu(p + q),), {"nonlinearity": "relu"}),
}


def scanned(cell, x, states, W, R, b_ih=0.0, b_hh=0.0, lengths=None, reverse=False):
    """Compute the same values by lax.scan."""
    step_of = CELLS[cell][2]

    def step(state, given):
        x_t, active = given
        p = x_t @ W.T + b_ih
        if step_of is None:
            h, b = state[0], jnp.broadcast_to(b_hh, (3 * H,))
            q = h @ R[: 2 * H].T + b[: 2 * H]
            r, z = jax.nn.sigmoid(p[:, :H] + q[:, :H]), jax.nn.sigmoid(p[:, H : 2 * H] + q[:, H:])
            new = ((1 - z) * jnp.tanh(p[:, 2 * H :] + (r * h) @ R[2 * H :].T + b[2 * H :]) + z * h,)
        else:
            new = step_of(p, state[0] @ R.T + b_hh, state)
        new = tuple(jnp.where(active[:, None], n, s) for n, s in zip(new, state, strict=True))
        return new, jnp.where(active[:, None], new[0], 0)

    lengths = jnp.full(x.shape[1], x.shape[0]) if lengths is None else jnp.asarray(lengths)
    active = jnp.arange(x.shape[0])[:, None] < lengths
    last, y = lax.scan(step, states, (x, active), reverse=reverse)
    return y, *last


def arguments(cell, dtype="float64", bias=True):
    rng, G = np.random.default_rng(0), CELLS[cell][1]
    shapes = [(T, B, I), *[(B, H)] * (2 if cell == "lstm" else 1), (G * H, I), (G * H, H), *[(G * H,)] * (2 * bias)]
    return [jnp.asarray(0.7 * rng.standard_normal(shape), dtype) for shape in shapes]


def split(cell, arrays):
    n = 3 if cell == "lstm" else 2
    return arrays[0], tuple(arrays[1:n]), arrays[n:]


def ours(cell, arrays, **options):
    return CELLS[cell][0](*arrays, **CELLS[cell][3], **options)


def expected(cell, arrays, **options):
    x, states, weights = split(cell, arrays)
    return scanned(cell, x, states, *weights, **options)


def loss_of(function, cell, **options):
    def loss(arrays):
        outputs = function(cell, arrays, **options)
        rng = np.random.default_rng(5)
        return sum((rng.standard_normal(y.shape).astype(y.dtype) * y).sum() for y in outputs)

    return loss


def agree(got, wanted, tolerance=1e-11):
    got, wanted = jax.tree.leaves(got), jax.tree.leaves(wanted)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def sharded_and_whole():
    """Return y and the gradients of x and the weights with the batch split over all devices, and without a split."""
    x, _, weights = split("lstm", arguments("lstm"))
    lengths, spec = jnp.asarray(LENGTHS), jax.sharding.PartitionSpec
    along, same = spec(None, "b"), spec()

    def loss(x, weights, lengths):
        y, h_n, _ = fj.lstm(x, None, None, *weights, lengths=lengths)
        return (y**2).sum() + h_n.sum(), y

    step = jax.grad(loss, argnums=(0, 1), has_aux=True)
    mesh = jax.make_mesh((len(jax.devices()),), ("b",), axis_types=(jax.sharding.AxisType.Auto,))
    split_step = jax.shard_map(step, mesh=mesh, in_specs=(along, same, spec("b")), out_specs=((along, same), along))
    return jax.jit(split_step)(x, weights, lengths), jax.jit(step)(x, weights, lengths)
