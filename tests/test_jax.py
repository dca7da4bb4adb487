"""fastrnn.jax by value: the functions and their gradients equal a loop of lax.scan, under jit, grad, vmap and scan.

Most tests run both ways: XLA's programs call the C library's handlers, or Python.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
from jax_cells import CELLS, LENGTHS, B, H, I, T, agree, arguments, expected, jax, jnp, lax, loss_of, ours, scanned, split

import fastrnn.jax as fj

pytestmark = pytest.mark.usefixtures("x64")

OPTIONS = [
    ("float64", True, True, False, True),
    ("float32", False, False, True, True),
    ("float64", False, True, True, False),
    ("float32", True, False, False, False),
]
QUICK = [("ffi", "lstm", *OPTIONS[0]), ("ffi", "gru_reset_before", *OPTIONS[1])]
# Through callbacks Python calls the backend, which does not depend on JAX: so one set of options for each cell is enough.
CALLBACKS = [("callback", cell, *options) for cell, options in zip(CELLS, [*OPTIONS[::-1], OPTIONS[0]], strict=True)]


@cache
def wanted(cell, bias, lengths, reverse):
    """Return the outputs and gradients in float64."""
    options = {"lengths": LENGTHS if lengths else None, "reverse": reverse}
    arrays = arguments(cell, bias=bias)
    outputs = jax.jit(lambda a: expected(cell, a, **options))(arrays)
    return outputs, jax.jit(jax.grad(loss_of(expected, cell, **options)))(arrays)


@pytest.mark.parametrize(
    ("xla_calls", "cell", "dtype", "bias", "lengths", "reverse", "jit"),
    [
        pytest.param(*row, marks=() if row in QUICK else pytest.mark.slow)
        for row in [*(("ffi", cell, *options) for cell in CELLS for options in OPTIONS), *CALLBACKS]
    ],
    indirect=["xla_calls"],
)
def test_values_and_gradients(xla_calls, cell, dtype, bias, lengths, reverse, jit):
    arrays, options = arguments(cell, dtype, bias), {"lengths": LENGTHS if lengths else None, "reverse": reverse}
    compiled = jax.jit if jit else lambda function: function

    def both(arrays):
        return ours(cell, arrays, **options), jax.grad(loss_of(ours, cell, **options))(arrays)

    in_dtype = jax.tree.map(lambda a: a.astype(dtype), wanted(cell, bias, lengths, reverse))
    agree(compiled(both)(arrays), in_dtype, 1e-11 if dtype == "float64" else 2e-5)


@pytest.mark.parametrize("cell", ["lstm", pytest.param("gru_reset_before", marks=pytest.mark.slow)])
def test_batch_first_and_no_states(xla_calls, cell):
    x, states, weights = split(cell, arguments(cell))
    got = ours(cell, [x.swapaxes(0, 1), *[None] * len(states), *weights], batch_first=True, lengths=LENGTHS)
    wanted = scanned(cell, x, tuple(jnp.zeros_like(s) for s in states), *weights, lengths=LENGTHS)
    agree((got[0].swapaxes(0, 1), *got[1:]), wanted)


def slow(*values):
    return pytest.param(values, marks=pytest.mark.slow)


VMAPS = [
    slow("lstm", "none", "x and states"),
    slow("gru", "none", "lengths"),
    slow("lstm", "none", "weights"),
    ("gru", "inside", "x"),
    slow("lstm", "outside", "everything"),
    slow("gru", "outside", "states"),
]


@pytest.mark.parametrize("case", VMAPS, ids=lambda case: " ".join(case))
def test_vmap(xla_calls, case):
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

    agree(jax.jit(lambda: call(ours))(), jax.jit(lambda: call(expected))())


@pytest.mark.slow
def test_jacobian_of_a_final_state(xla_calls):
    arrays = arguments("gru")
    got, want = (jax.jit(jax.jacrev(lambda a, f=f: f("gru", a)[1])) for f in (ours, expected))
    agree(got(arrays), want(arrays))


@pytest.mark.slow
def test_a_backward_that_runs_twice(xla_calls):
    """Backward runs in the tape's memory, so XLA must pass it a copy each time."""
    arrays = arguments("lstm")
    (y, *_), backward = jax.vjp(lambda a: ours("lstm", a), arrays)
    gradients = (jnp.cos(y), jnp.zeros((B, H)), jnp.ones((B, H)))
    first = backward(gradients)
    agree(backward(gradients), first, 0)
    twice = jax.jit(lambda g: jax.tree.map(lambda a, b: a + b, backward(g), backward((2 * g[0], *g[1:]))))
    plain = jax.vjp(lambda a: expected("lstm", a), arrays)[1]
    agree(twice(gradients), jax.tree.map(lambda a, b: a + b, plain(gradients), plain((2 * gradients[0], *gradients[1:]))))


@pytest.mark.parametrize("of", ["x", pytest.param("weights", marks=pytest.mark.slow)])
def test_dx_is_computed_only_where_it_is_needed(xla_calls, of):
    x, states, weights = split("lstm", arguments("lstm"))

    def gradient(function):
        loss = loss_of(function, "lstm")
        if of == "x":
            return jax.grad(lambda x: loss([x, *states, *weights]))
        return jax.grad(lambda weights: loss([x, *states, *weights]))

    given = x if of == "x" else weights
    agree(jax.jit(gradient(ours))(given), jax.jit(gradient(expected))(given))
    program = str(jax.make_jaxpr(gradient(ours))(given))
    *_, outputs = re.findall(r"((?:\S+:\S+\s+)+)= (?:ffi_call|pure_callback)\[", program)
    assert outputs.count(f"f64[{T},{B},{I}]") == (of == "x")


def test_rematerialisation(xla_calls):
    arrays = arguments("gru")
    loss = loss_of(ours, "gru")
    agree(jax.jit(jax.grad(jax.checkpoint(loss)))(arrays), jax.jit(jax.grad(loss))(arrays), 0)


@pytest.mark.slow
def test_inside_scan(xla_calls):
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

    agree(jax.jit(jax.value_and_grad(loss))(weights), jax.jit(jax.value_and_grad(whole))(weights))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_lengths_of_any_integer_type(xla_calls, dtype):
    arrays = arguments("gru")
    agree(ours("gru", arrays, lengths=jnp.asarray(LENGTHS, dtype)), ours("gru", arrays, lengths=LENGTHS), 0)
    for wrong in (7, 255):
        with pytest.raises(Exception, match=rf"lengths must each lie in 0..T = 0..6, got {wrong}"):
            jax.block_until_ready(ours("gru", arrays, lengths=jnp.asarray([6, 1, wrong, 2], dtype)))


def test_no_sequences(xla_calls):
    x, states, weights = split("lstm", arguments("lstm"))
    arrays = [x[:, :0], *(state[:0] for state in states), *weights]
    y, h_n, _ = ours("lstm", arrays)
    assert y.shape == (T, 0, H)
    assert h_n.shape == (0, H)
    gradients = jax.grad(loss_of(ours, "lstm"))(arrays)
    assert not any(g.any() for g in gradients)


def test_vmap_over_no_examples(xla_calls):
    x, _, weights = split("lstm", arguments("lstm"))

    def call(x):
        return fj.lstm(x, None, None, *weights)

    found = jax.vmap(call)(jnp.zeros((0, *x.shape)))
    assert [array.shape for array in found] == [(0, T, B, H), (0, B, H), (0, B, H)]
    assert jax.vmap(jax.grad(lambda x: call(x)[0].sum()))(jnp.zeros((0, *x.shape))).shape == (0, *x.shape)


def test_errors_name_the_argument(xla_calls):
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
