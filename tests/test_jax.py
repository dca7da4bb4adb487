"""fastrnn.jax by value: the functions and their gradients equal a loop of lax.scan, under jit, grad, vmap and scan."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

import fastrnn.jax as fj  # noqa: E402 - only where jax is installed

T, B, I, H = 6, 4, 3, 5  # noqa: E741 - the field's letters
LENGTHS = np.array([6, 0, 2, 5])


@pytest.fixture(autouse=True)
def x64():
    jax.config.update("jax_enable_x64", True)  # for all threads, also the one that runs callbacks
    yield
    jax.config.update("jax_enable_x64", False)


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
    """The same by lax.scan."""
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


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("cell", CELLS)
def test_values_and_gradients(cell, lengths, reverse, bias, dtype, jit):
    arrays, options = arguments(cell, dtype, bias), {"lengths": lengths, "reverse": reverse}
    tolerance = 1e-11 if dtype == "float64" else 2e-5
    compiled = jax.jit if jit else lambda function: function
    agree(compiled(lambda a: ours(cell, a, **options))(arrays), expected(cell, arrays, **options), tolerance)
    got = compiled(jax.grad(loss_of(ours, cell, **options)))(arrays)
    agree(got, jax.grad(loss_of(expected, cell, **options))(arrays), tolerance)


@pytest.mark.parametrize("cell", CELLS)
def test_batch_first_and_no_states(cell):
    x, states, weights = split(cell, arguments(cell))
    got = ours(cell, [x.swapaxes(0, 1), *[None] * len(states), *weights], batch_first=True, lengths=LENGTHS)
    wanted = scanned(cell, x, tuple(jnp.zeros_like(s) for s in states), *weights, lengths=LENGTHS)
    agree((got[0].swapaxes(0, 1), *got[1:]), wanted)


VMAPS = [
    ("lstm", "none", "x and states"),
    ("gru", "none", "lengths"),
    ("lstm", "none", "weights"),
    ("gru", "inside", "x"),
    ("lstm", "outside", "everything"),
    ("gru", "outside", "states"),
]


@pytest.mark.parametrize("case", VMAPS, ids=" ".join)
def test_vmap(case):
    cell, gradient, mapped = case
    x, states, weights = split(cell, arguments(cell))
    lengths, axes = jnp.asarray(LENGTHS), {"x": None, "states": None, "weights": None, "lengths": None}
    given = {"x": x, "states": states, "weights": weights, "lengths": lengths}
    for name in axes:
        if name in mapped or mapped == "everything":
            given[name] = jax.tree.map(lambda a: jnp.stack([a, a[::-1], a]), given[name])
            axes[name] = 0

    def call(function):
        def one(x, states, weights, lengths):
            loss = loss_of(function, cell, lengths=lengths)
            if gradient == "none":
                return function(cell, [x, *states, *weights], lengths=lengths)
            if gradient == "inside":
                return jax.grad(loss)([x, *states, *weights])
            return loss([x, *states, *weights])

        batched = jax.vmap(one, in_axes=tuple(axes.values()))
        if gradient != "outside":
            return batched(*given.values())
        return jax.grad(lambda floats: batched(*floats, given["lengths"]).sum())(tuple(given.values())[:3])

    agree(jax.jit(lambda: call(ours))(), call(expected))


def test_jacobian_of_a_final_state():
    arrays = arguments("gru")
    agree(jax.jacrev(lambda a: ours("gru", a)[1])(arrays), jax.jacrev(lambda a: expected("gru", a)[1])(arrays))


def test_inside_scan():
    x, (h, c), weights = split("lstm", arguments("lstm"))
    chunks = x.reshape(3, 2, B, I)

    def loss(weights):
        def chunk(state, x):
            y, *state = fj.lstm(x, *state, *weights)
            return tuple(state), y

        (h_n, c_n), y = lax.scan(chunk, (h, c), chunks)
        return (y.reshape(T, B, H) * x.sum()).sum() + (h_n * c_n).sum()

    def whole(weights):
        y, h_n, c_n = scanned("lstm", x, (h, c), *weights)
        return (y * x.sum()).sum() + (h_n * c_n).sum()

    agree(jax.jit(jax.value_and_grad(loss))(weights), jax.value_and_grad(whole)(weights))


def test_errors_name_the_argument():
    x, (h, c), (W, R, b, _) = split("lstm", arguments("lstm"))
    with pytest.raises(ValueError, match=r"R must have shape \(20, 5\), got \(19, 5\)"):
        fj.lstm(x, h, c, W, R[1:])
    with pytest.raises(ValueError, match="x must have 3 dimensions, got shape"):
        fj.lstm(x[0], h, c, W, R)
    with pytest.raises(TypeError, match=r"h0 must be a float64 array like x, got float32\[4, 5\]"):
        fj.lstm(x, h.astype("float32"), c, W, R)
    with pytest.raises(ValueError, match="b_ih and b_hh must both be given"):
        fj.lstm(x, h, c, W, R, b)
    with pytest.raises(ValueError, match=r"lengths must be integers \[B\] = \(4,\)"):
        fj.lstm(x, h, c, W, R, lengths=[1, 2])
    with pytest.raises(Exception, match=r"lengths must each lie in 0..T = 0..6, got 7"):
        jax.block_until_ready(fj.lstm(x, h, c, W, R, lengths=[7, 1, 1, 1]))
