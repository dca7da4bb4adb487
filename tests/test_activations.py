"""sigmoid, tanh and relu as the kernels compute them, observed in the outputs of cells.

Token ids make this exact: the pre-activation of id k is W[:, k], without a product. The RNN from a zero state
then gives f(W[0, k]), and the GRU without a reset gate, with its candidate at tanh(0) = 0 and from a state of 1, gives
(1 - z) 0 + z 1 = z, the sigmoid.
"""

import numpy as np
import pytest
from tables import each_row

from fastrnn import functional

DTYPES = each_row("dtype", [np.float32, np.float64])
EVERY = each_row("name", ["sigmoid", "tanh"])
# The largest errors measured for the C kernels, in units in the last place. On AVX-512, over every float32 with |x| in
# 2^-12..87: tanh 2.58, sigmoid 2.49. On dense grids with every ISA: float32 no worse, float64 tanh 2.6, sigmoid 2.0.
ULPS = 3
precise = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="long double is no longer than double here")


def _activation(backend, name, x, hidden=1):
    """Return f(x) for each value, computed in each of ``hidden`` units."""
    V, dtype = len(x), x.dtype
    rows = np.tile(x, (hidden, 1))
    ids, options = np.arange(V)[None], {"keep_tape": False, "backend": backend}
    if name == "sigmoid":
        W, R = np.vstack([rows, np.zeros_like(rows)]), np.zeros((2 * hidden, hidden), dtype)
        ones = np.ones((V, hidden), dtype)
        y = functional.gru_forward(ids, ones, W, R, reset_gate=False, **options).y
    else:
        R = np.zeros((hidden, hidden), dtype)
        y = functional.rnn_forward(ids, None, rows, R, nonlinearity=name, **options).y
    return y[0] if hidden > 1 else y[0, :, 0]


def _exact(name, x):
    x = x.astype(np.longdouble)
    return np.tanh(x) if name == "tanh" else 1 / (1 + np.exp(-x))


def _ulps(got, exact):
    """Return the errors in units in the last place of the exact value."""
    limits = np.finfo(got.dtype)
    spacing = np.spacing(np.maximum(np.abs(exact).astype(got.dtype), limits.tiny)).astype(np.longdouble)
    return np.abs(got.astype(np.longdouble) - exact) / spacing


def _range(dtype):
    """Return the largest |x| for which e^x and e^-x are normal numbers."""
    return 87.0 if dtype == np.float32 else 708.0


@precise
@EVERY
@DTYPES
def test_accuracy_on_a_dense_grid(engine, name, dtype):
    rng = np.random.default_rng(0)
    end = _range(dtype)
    grids = [np.linspace(-end, end, 40001), np.linspace(-10, 10, 40001), rng.uniform(-1, 1, 40000)]
    x = np.concatenate(grids).astype(dtype)
    assert _ulps(_activation(engine, name, x), _exact(name, x)).max() <= ULPS


@precise
@DTYPES
def test_tanh_near_zero_is_accurate_relative_to_its_value(engine, dtype):
    exponents = np.random.default_rng(0).uniform(np.log10(np.finfo(dtype).tiny), 0, 50000)
    x = np.concatenate([10**exponents, -(10**exponents)]).astype(dtype)
    x = x[np.abs(x) >= np.finfo(dtype).tiny]
    assert _ulps(_activation(engine, "tanh", x), _exact("tanh", x)).max() <= ULPS


@DTYPES
def test_values_at_zero_and_far_out(engine, dtype):
    far = np.array([40, 1e3, 1e30, np.finfo(dtype).max, np.inf], dtype)
    x = np.concatenate([[0, -0.0], far, -far]).astype(dtype)
    tanh, sigmoid = (_activation(engine, name, x) for name in ("tanh", "sigmoid"))
    np.testing.assert_array_equal(tanh, [0, 0] + [1] * 5 + [-1] * 5)
    np.testing.assert_array_equal(sigmoid[:7], [0.5, 0.5] + [1] * 5)
    assert (sigmoid[7:] >= 0).all()
    assert (sigmoid[8:] <= 2 * np.exp(-_range(dtype))).all()  # stays at the smallest power of e that is a normal number
    np.testing.assert_array_equal(_activation(engine, "relu", x), np.maximum(x, 0))


@DTYPES
def test_denormal_numbers_count_as_zero_or_as_themselves(engine, dtype):
    x = np.array([np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny / 2], dtype)
    x = np.concatenate([x, -x])
    np.testing.assert_array_equal(_activation(engine, "sigmoid", x), 0.5)
    for name in ("tanh", "relu"):
        assert (np.abs(_activation(engine, name, x)) <= np.abs(x)).all()


@DTYPES
@each_row("name", ["sigmoid", "tanh", "relu"])
def test_nan_passes_through(engine, name, dtype):
    x = np.array([1, np.nan, -1, -np.nan, 0], dtype)
    np.testing.assert_array_equal(np.isnan(_activation(engine, name, x)), np.isnan(x))
    np.testing.assert_array_equal(np.isnan(_activation(engine, name, x, hidden=37)).all(1), np.isnan(x))


@DTYPES
@each_row("name", ["sigmoid", "tanh", "relu"])
def test_every_unit_gets_the_same_bits(engine, name, dtype):
    x = np.linspace(-12, 12, 501).astype(dtype)
    one, many = _activation(engine, name, x), _activation(engine, name, x, hidden=37)
    np.testing.assert_array_equal(many, np.repeat(one[:, None], 37, axis=1))


@EVERY
@DTYPES
def test_outputs_stay_in_their_range_and_tanh_is_odd(engine, name, dtype):
    x = np.concatenate([np.linspace(0, 30, 30001), np.linspace(0, _range(dtype), 30001)]).astype(dtype)
    plus, minus = _activation(engine, name, x), _activation(engine, name, -x)
    low = -1 if name == "tanh" else 0
    assert low <= min(plus.min(), minus.min())
    assert max(plus.max(), minus.max()) <= 1
    if name == "tanh":
        np.testing.assert_allclose(plus, -minus, rtol=2 * ULPS * np.finfo(dtype).eps, atol=0)


@each_row("nonlinearity", ["tanh", "relu"])
@DTYPES
def test_derivatives_at_large_zero_and_nan_inputs(engine, nonlinearity, dtype):
    """relu's derivative is 0 at 0, as in torch. That of a saturated tanh is 0, and tanh passes NaN through."""
    x = np.array([-np.inf, -1e30, -50, -0.0, 0, 50, 1e30, np.inf, np.nan], dtype)
    one, zero = np.ones((1, 1), dtype), np.zeros((1, 1), dtype)
    # The gradient of h0 through R = 1, from h0 = 0, is the derivative itself.
    h0 = np.zeros((9, 1), dtype)
    out = functional.rnn_forward(np.arange(9)[None], h0, x[None].copy(), one, nonlinearity=nonlinearity, backend=engine)
    derivative = functional.rnn_backward(out.tape, np.ones((1, 9, 1), dtype)).dh0[:, 0]
    expected = {"tanh": [0, 0, 0, 1, 1, 0, 0, 0], "relu": [0, 0, 0, 0, 0, 1, 1, 1]}[nonlinearity]
    np.testing.assert_array_equal(derivative[:8], np.array(expected) + zero[0])
    if nonlinearity == "tanh":
        assert np.isnan(derivative[8])
