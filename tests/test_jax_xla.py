"""XLA's programs call the kernels: threads, devices, other processes, and backends without handlers."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from at_once import at_once
from example_scripts import example
from jax_cells import LENGTHS, agree, arguments, expected, jax, jnp, loss_of, ours, sharded_and_whole, split

import fastrnn
import fastrnn.jax as fj
from fastrnn.jax import _ffi, _stack

pytestmark = pytest.mark.usefixtures("x64")


def test_changed_weights_are_packed_anew(xla_handlers):
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


def test_the_precision_is_that_of_the_trace(xla_handlers):
    """Backward runs in the precision of its forward, also after a change of the setting, and has the bits of a layer."""
    layer = fastrnn.LSTM(64, 64, rng=0, precision="medium")
    x = np.random.default_rng(0).standard_normal((5, 4, 64)).astype(np.float32)
    (y, _), layer_backward = layer.forward(x)
    dx, _ = layer_backward(y)
    weights = [jnp.asarray(p.data) for p in layer.parameters()]
    with fastrnn.use_precision("medium"):
        got, backward = jax.vjp(lambda x, *weights: fj.lstm(x, None, None, *weights)[0], jnp.asarray(x), *weights)
    agree([got, *backward(got)], [y, dx, *(p.grad for p in layer.parameters())], 0)


def test_calls_at_once_have_the_same_bits(xla_handlers):
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
import numpy as np
from fastrnn.jax import _ffi
from jax_cells import sharded_and_whole
if sys.argv[2] == "callback":
    _ffi.usable = lambda: False
assert len(jax.devices()) == int(sys.argv[1])
for got, wanted in zip(*map(jax.tree.leaves, sharded_and_whole()), strict=True):
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-11)
"""


def test_gradients_in_shard_map(xla_calls):
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
def test_gradients_in_shard_map_on_two_devices(by, xla_handlers):
    command = [sys.executable, "-c", SHARDED, "2", by]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


LOADING = """
import jax
import jax.numpy as jnp
import fastrnn.jax
from jax import export
program = export.deserialize(bytearray(open("program", "rb").read()))
print(float(program.call(jnp.ones((5, 2, 3), jnp.float32)).sum()))
"""


@pytest.mark.slow
def test_an_exported_program_runs_in_another_process(xla_handlers, tmp_path):
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


def test_handlers_that_xla_refuses_are_replaced(xla_handlers, monkeypatch):
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
