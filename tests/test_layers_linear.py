"""Linear on every engine: values compared with the reference, and the same bits for any threads and batch."""

import functools
import itertools

import cases
import numpy as np
import pytest

import fastrnn
from fastrnn import backends
from fastrnn.layers import Linear
from fastrnn.text.char_model import CharModel

TOLERANCE = {"float64": 1e-10, "float32": 2e-5}
EVERY_DTYPE = pytest.mark.parametrize("dtype", TOLERANCE)
# All sizes 1, and sizes that are no multiple of any vector, tile or block. Three threads share the largest.
SIZES = (1, 65, 100, 257)


def _data(N, I, O, dtype):  # noqa: E741
    rng = np.random.default_rng([N, I, O])
    return [rng.standard_normal((N, size)).astype(dtype) for size in (I, O)]


def _run(layer, x, dy):
    """Return y of training and of inference, dx, and the gradients after they were added to initial values."""
    layer.zero_grad()
    for parameter in layer.parameters():
        parameter.gradient()[...] = np.arange(parameter.size).reshape(parameter.shape) % 7
    y, backward = layer.forward(x)
    results = {"y": y, "y of inference": layer(x), "dx": backward(dy)}
    return results | {f"d{name}": parameter.grad.copy() for name, parameter in layer.named_parameters()}


@functools.cache
def _reference(N, I, O, bias, dtype):  # noqa: E741
    return _run(Linear(I, O, bias, dtype=dtype, rng=0, backend="reference"), *_data(N, I, O, dtype))


@EVERY_DTYPE
@pytest.mark.parametrize("N", SIZES)
def test_values_and_gradients_agree_with_the_reference(engine, N, dtype, request):
    for (I, O), bias in zip(itertools.product(SIZES, SIZES), itertools.cycle((True, True, False))):  # noqa: E741
        layer, data = Linear(I, O, bias, dtype=dtype, rng=0, backend=engine), _data(N, I, O, dtype)
        one = None
        for threads in (1, 2, 3) if engine == "c" else (1,):
            if engine == "c":
                request.getfixturevalue("set_threads")(threads)
            got = _run(layer, *data)
            cases.assert_agree(got, _reference(N, I, O, bias, dtype), TOLERANCE[dtype])
            one = one or got
            for key, value in got.items():
                np.testing.assert_array_equal(value, one[key], err_msg=f"{key}, {threads} threads, {I}, {O}")


def test_the_reference_is_the_equation_and_adds_into_the_gradients():
    x, dy = _data(5, 3, 2, "float64")
    layer = Linear(3, 2, dtype="float64", rng=0, backend="reference")
    got = _run(layer, x, dy)
    W, b = layer.weight.data, layer.bias.data
    wanted = {
        "y": np.einsum("ni,oi->no", x, W) + b,
        "y of inference": np.einsum("ni,oi->no", x, W) + b,
        "dx": np.einsum("no,oi->ni", dy, W),
        "dweight": np.einsum("no,ni->oi", dy, x) + np.arange(6).reshape(2, 3),
        "dbias": dy.sum(0) + np.arange(2),
    }
    cases.assert_agree(got, wanted, 1e-14)


@EVERY_DTYPE
@pytest.mark.parametrize(("I", "O"), [(257, 100), (65, 257), (1, 65), (100, 1)])
def test_a_row_has_the_same_bits_alone_and_in_any_batch(isa, set_threads, I, O, dtype):  # noqa: E741
    x, dy = _data(257, I, O, dtype)
    layer = Linear(I, O, dtype=dtype, rng=0, backend="c")
    set_threads(1)
    whole = _run(layer, x, dy)
    order = np.random.default_rng(0).permutation(257)
    for threads, rows in itertools.product((1, 2, 3), ([0], [256], [130], order[:65], order[:100], order)):
        set_threads(threads)
        part = _run(layer, x[rows], dy[rows])
        for key in ("y", "y of inference", "dx"):
            np.testing.assert_array_equal(part[key], whole[key][rows], err_msg=f"{key}, {threads} threads, rows {rows}")


def test_leading_axes_and_strides_change_no_bit(engine):
    x, dy = _data(60, 33, 17, "float32")
    layer = Linear(33, 17, rng=0, backend=engine)
    flat = _run(layer, x, dy)
    boxed = _run(layer, x.reshape(3, 4, 5, 33), dy.reshape(3, 4, 5, 17))
    strided = _run(layer, np.asfortranarray(x), np.asfortranarray(dy))
    for key, value in flat.items():
        np.testing.assert_array_equal(boxed[key].reshape(value.shape), value, err_msg=key)
        np.testing.assert_array_equal(strided[key], value, err_msg=key)


def _counted(monkeypatch, name):
    """Return a list that records the number of rows of each later call of the backend's linear_forward."""
    kind, rows = type(backends.load(name)), []
    plain = kind.linear_forward
    monkeypatch.setattr(kind, "linear_forward", lambda self, ready, x: rows.append(len(x)) or plain(self, ready, x))
    return rows


@pytest.mark.parametrize("name", backends.available())
def test_the_backend_asked_for_does_the_work(monkeypatch, name):
    other = next(other for other in backends.available() if other != name)
    here = _counted(monkeypatch, name)
    x = np.ones((4, 3), np.float32)
    with fastrnn.use_backend(other):
        Linear(3, 2, rng=0, backend=name)(x)
        CharModel(5, "rnn", 1, 4, rng=0, backend=name)(np.zeros((2, 3), int))
    assert here == [4, 6]
    with fastrnn.use_backend(name):
        Linear(3, 2, rng=0)(x[:1])
    assert here == [4, 6, 1]


@EVERY_DTYPE
def test_a_prepared_layer_follows_the_isa(c, dtype):
    x, dy = _data(65, 100, 65, dtype)
    layer = Linear(100, 65, dtype=dtype, rng=0, backend="c")
    try:
        for isa in [*c.isa_names(), *c.isa_names()]:
            c.set_isa(isa)
            got, fresh = _run(layer, x, dy), _run(Linear(100, 65, dtype=dtype, rng=0, backend="c"), x, dy)
            for key, value in fresh.items():
                np.testing.assert_array_equal(got[key], value, err_msg=f"{key} on {isa}")
    finally:
        c.set_isa(None)
