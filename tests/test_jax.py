"""fastrnn.jax by value: the functions and their gradients equal a loop of lax.scan, under jit, grad, vmap and scan.

Most tests run both ways: XLA's programs call the C library's handlers, or Python.
"""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from at_once import at_once
from example_scripts import example

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

import fastrnn  # noqa: E402
import fastrnn.jax as fj  # noqa: E402 - only where jax is installed
from fastrnn import backends  # noqa: E402
from fastrnn.jax import _ffi, _stack  # noqa: E402

T, B, I, H = 6, 4, 3, 5  # noqa: E741 - the field's letters
LENGTHS = np.array([6, 0, 2, 5])


@pytest.fixture(autouse=True)
def x64():
    jax.config.update("jax_enable_x64", True)  # set for all threads, because one of them runs callbacks
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def direct():
    """Skip where XLA's programs cannot call the kernels."""
    if "c" not in backends.available():
        pytest.skip("only the C backend has handlers for XLA")


@pytest.fixture(params=["ffi", pytest.param("callback", marks=pytest.mark.slow)])
def way(request, monkeypatch):
    """Run the test both ways; one quick test of callbacks is that of other backends."""
    if request.param == "callback":
        monkeypatch.setattr(_ffi, "usable", lambda: False)
    else:
        request.getfixturevalue("direct")
    return request.param


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
    ("way", "cell", "dtype", "bias", "lengths", "reverse", "jit"),
    [
        pytest.param(*row, marks=() if row in QUICK else pytest.mark.slow)
        for row in [*(("ffi", cell, *options) for cell in CELLS for options in OPTIONS), *CALLBACKS]
    ],
    indirect=["way"],
)
def test_values_and_gradients(way, cell, dtype, bias, lengths, reverse, jit):
    arrays, options = arguments(cell, dtype, bias), {"lengths": LENGTHS if lengths else None, "reverse": reverse}
    compiled = jax.jit if jit else lambda function: function

    def both(arrays):
        return ours(cell, arrays, **options), jax.grad(loss_of(ours, cell, **options))(arrays)

    in_dtype = jax.tree.map(lambda a: a.astype(dtype), wanted(cell, bias, lengths, reverse))
    agree(compiled(both)(arrays), in_dtype, 1e-11 if dtype == "float64" else 2e-5)


@pytest.mark.parametrize("cell", ["lstm", pytest.param("gru_reset_before", marks=pytest.mark.slow)])
def test_batch_first_and_no_states(way, cell):
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
def test_vmap(way, case):
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
def test_jacobian_of_a_final_state(way):
    arrays = arguments("gru")
    got, want = (jax.jit(jax.jacrev(lambda a, f=f: f("gru", a)[1])) for f in (ours, expected))
    agree(got(arrays), want(arrays))


@pytest.mark.slow
def test_a_backward_that_runs_twice(way):
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
def test_dx_is_computed_only_where_it_is_needed(way, of):
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


def test_rematerialisation(way):
    arrays = arguments("gru")
    loss = loss_of(ours, "gru")
    agree(jax.jit(jax.grad(jax.checkpoint(loss)))(arrays), jax.jit(jax.grad(loss))(arrays), 0)


@pytest.mark.slow
def test_inside_scan(way):
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
def test_lengths_of_any_integer_type(way, dtype):
    arrays = arguments("gru")
    agree(ours("gru", arrays, lengths=jnp.asarray(LENGTHS, dtype)), ours("gru", arrays, lengths=LENGTHS), 0)
    for wrong in (7, 255):
        with pytest.raises(Exception, match=rf"lengths must each lie in 0..T = 0..6, got {wrong}"):
            jax.block_until_ready(ours("gru", arrays, lengths=jnp.asarray([6, 1, wrong, 2], dtype)))


def test_no_sequences(way):
    x, states, weights = split("lstm", arguments("lstm"))
    arrays = [x[:, :0], *(state[:0] for state in states), *weights]
    y, h_n, _ = ours("lstm", arrays)
    assert y.shape == (T, 0, H)
    assert h_n.shape == (0, H)
    gradients = jax.grad(loss_of(ours, "lstm"))(arrays)
    assert not any(g.any() for g in gradients)


def test_changed_weights_are_packed_anew(direct):
    """Packed weights are found again by a hash, also by a later call of another size."""
    arrays = arguments("lstm", "float32")
    run, want = jax.jit(lambda a: ours("lstm", a)), jax.jit(lambda a: expected("lstm", a))
    before = run(arrays)
    for place in range(3, 7):
        changed = list(arrays)
        changed[place] = changed[place].at[-1].add(1e-3)
        agree(run(changed), want(changed), 1e-5)
    longer = [jnp.concatenate([arrays[0]] * 30), *arrays[1:]]
    agree(run(longer), want(longer), 1e-5)
    agree(run(arrays), before, 0)


def test_the_precision_is_that_of_the_trace(direct):
    """Backward has its forward's precision, also if the setting has changed since; the bits are those of a layer."""
    layer = fastrnn.LSTM(64, 64, rng=0, precision="medium")
    x = np.random.default_rng(0).standard_normal((5, 4, 64)).astype(np.float32)
    (y, _), layer_backward = layer.forward(x)
    dx, _ = layer_backward(y)
    weights = [jnp.asarray(p.data) for p in layer.parameters()]
    with fastrnn.use_precision("medium"):
        got, backward = jax.vjp(lambda x, *weights: fj.lstm(x, None, None, *weights)[0], jnp.asarray(x), *weights)
    agree([got, *backward(got)], [y, dx, *(p.grad for p in layer.parameters())], 0)


def test_calls_at_once_have_the_same_bits(direct):
    """Python threads call a program, and XLA runs the independent layers of each on its own threads."""
    rng, size = np.random.default_rng(0), 96
    shapes = [(4 * size, size), (4 * size, size), (4 * size,), (4 * size,)]
    layers = [[jnp.asarray(0.1 * rng.standard_normal(shape), jnp.float32) for shape in shapes] for _ in range(3)]
    xs = [jnp.asarray(rng.standard_normal((20, 8, size)), jnp.float32) for _ in range(4)]

    @jax.jit
    @jax.value_and_grad
    def program(layers, x):
        ys = [fj.lstm(x, None, None, *weights, reverse=i == 1)[0] for i, weights in enumerate(layers)]
        return sum((y**2).mean() for y in ys)

    threads = fastrnn.get_num_threads()
    try:
        fastrnn.set_num_threads(1)
        alone = [program(layers, x) for x in xs]
        fastrnn.set_num_threads(2)

        def many(i):
            return [jax.block_until_ready(program(layers, xs[i])) for _ in range(10)]

        for found, want in zip(at_once([partial(many, i) for i in range(len(xs))]), alone, strict=True):
            for one in found:
                agree(one, want, 0)
    finally:
        fastrnn.set_num_threads(threads)


SHARDED = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
jax.config.update("jax_enable_x64", True)
from test_jax import _ffi, np, sharded_and_whole
if sys.argv[2] == "callback":
    _ffi.usable = lambda: False
assert len(jax.devices()) == int(sys.argv[1])
for got, wanted in zip(*map(jax.tree.leaves, sharded_and_whole()), strict=True):
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-11)
"""


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


def test_gradients_in_shard_map(way):
    # JAX took the outputs of the kernels to be the same on all devices, so it did not add the weights' gradients.
    agree(*sharded_and_whole())


def test_every_jax_says_over_which_axes_an_array_varies(monkeypatch):
    varying, none = frozenset("b"), frozenset()
    newest = (SimpleNamespace(manual_axis_type=SimpleNamespace(varying=axes)) for axes in (varying, none))
    before_0_10 = (SimpleNamespace(vma=axes) for axes in (varying, none))
    for kind, wanted in zip((*newest, *before_0_10), (varying, none) * 2, strict=True):
        monkeypatch.setattr(jax, "typeof", lambda array, kind=kind: kind)
        assert _stack._axes(None) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("by", ["ffi", "callback"])
def test_gradients_in_shard_map_on_two_devices(by, direct):
    command = [sys.executable, "-c", SHARDED, "2", by]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_vmap_over_no_examples(way):
    x, _, weights = split("lstm", arguments("lstm"))

    def call(x):
        return fj.lstm(x, None, None, *weights)

    found = jax.vmap(call)(jnp.zeros((0, *x.shape)))
    assert [array.shape for array in found] == [(0, T, B, H), (0, B, H), (0, B, H)]
    assert jax.vmap(jax.grad(lambda x: call(x)[0].sum()))(jnp.zeros((0, *x.shape))).shape == (0, *x.shape)


LOADING = """
import jax
import jax.numpy as jnp
import fastrnn.jax
from jax import export
program = export.deserialize(bytearray(open("program", "rb").read()))
print(float(program.call(jnp.ones((5, 2, 3), jnp.float32)).sum()))
"""


@pytest.mark.slow
def test_an_exported_program_runs_in_another_process(direct, tmp_path):
    pytest.importorskip("flatbuffers")
    from jax import export

    _, _, weights = split("lstm", arguments("lstm", "float32"))
    program = jax.jit(lambda x: fj.lstm(x, None, None, *weights)[0])
    x = jnp.ones((5, 2, 3), jnp.float32)
    checks = [export.DisabledSafetyCheck.custom_call(_ffi.FORWARD)]
    (tmp_path / "program").write_bytes(export.export(program, disabled_checks=checks)(x).serialize())
    done = subprocess.run([sys.executable, "-c", LOADING], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(float(program(x).sum()), abs=1e-5)


def test_other_backends_run_through_callbacks_and_a_warning_says_so():
    _ffi._warn.cache_clear()
    arrays = arguments("gru")

    def both(function):
        loss = loss_of(function, "gru", lengths=LENGTHS)
        return jax.jit(lambda a: (function("gru", a, lengths=LENGTHS), jax.grad(loss)(a)))(arrays)

    with fastrnn.use_backend("reference"):
        with pytest.warns(UserWarning, match="because backend 'reference' has no handlers for XLA"):
            got = both(ours)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # once is enough
            agree(ours("gru", arrays, lengths=LENGTHS), got[0])
    agree(got, both(expected))


def test_handlers_that_xla_refuses_are_replaced(direct, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no such version")

    monkeypatch.setattr(jax.ffi, "register_ffi_target", refuse)
    _ffi._unregistered.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"because XLA refused the handlers \(no such version\)"):
            assert not _ffi.usable()
    finally:
        _ffi._unregistered.cache_clear()
    assert _ffi._refusal("c", "gpu") == "JAX runs on gpu"


@pytest.mark.slow
def test_the_example_has_the_same_losses_either_way(capsys):
    example("jax_language_model").main(["--steps", "5", "--hidden-size", "24", "--batch-size", "8", "--length", "12"])
    said = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", said)]
    assert len(losses) == 10
    assert losses[:5] == pytest.approx(losses[5:], abs=2e-3)
    assert len(said.rpartition("times as fast\n")[2]) == 201


def test_errors_name_the_argument(way):
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
