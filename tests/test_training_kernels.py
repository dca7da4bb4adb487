"""The C library's loss, optimisers and passes over gradients: NumPy's values, and equal bits for any number of threads."""

import itertools

import numpy as np
import pytest
from optimised_params import OPTIONS, set_gradients
from tables import each_row

from fastrnn import optim, use_backend
from fastrnn._core.parameter import Parameter
from fastrnn.losses import softmax_cross_entropy

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Threads share the largest arrays. No size is a multiple of every vector and block.
SHAPES = {"large": (300, 333), "odd": (8193,), "vector": (16,), "one": (1,), "none": (0,), "scalar": ()}
THREADS = (1, 2, 3)


def _params(dtype, seed=0):
    rng = np.random.default_rng(seed)
    dtypes = itertools.cycle(["float32", "float64"] if dtype == "mixed" else [dtype])
    return [Parameter(name, rng.standard_normal(shape).astype(next(dtypes))) for name, shape in SHAPES.items()]


def _arrays(params):
    return [array for param in params for array in (param.data, param.grad)]


def _assert_same_bits(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def _cross_entropy_in_float64(logits, targets, counted):
    x = logits[counted].astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    p = np.exp(x)
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(x)), targets[counted]
    losses = -np.log(p[rows])
    p[rows] -= 1
    gradient = np.zeros(logits.shape)
    gradient[counted] = p / len(x)
    return losses.mean(), gradient


@DTYPES
@pytest.mark.parametrize("V", [1, 2, 15, 16, 17, 65, 1000])
def test_cross_entropy_at_every_width(isa, set_threads, V, dtype):
    rng = np.random.default_rng(V)
    N = 20000 // V + 65
    logits = (4 * rng.standard_normal((N, V))).astype(dtype)
    targets, mask = rng.integers(0, V, N), rng.random(N) < 0.8
    targets[rng.random(N) < 0.1] = -100
    loss, gradient = _cross_entropy_in_float64(logits, targets, mask & (targets != -100))
    tolerance = 1e-14 if dtype == "float64" else 1e-6
    results = []
    for threads in THREADS:
        set_threads(threads)
        with use_backend("c"):
            results.append(softmax_cross_entropy(logits, targets, mask=mask))
        np.testing.assert_allclose(results[-1][0], loss, rtol=10 * tolerance)
        np.testing.assert_allclose(results[-1][1], gradient, rtol=100 * tolerance, atol=tolerance)
    for result in results:
        assert result[0] == results[0][0]
        np.testing.assert_array_equal(result[1], results[0][1])


@pytest.mark.parametrize(
    "dtype", ["mixed", *(pytest.param(name, marks=pytest.mark.slow) for name in ("float32", "float64"))]
)
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_optimisers_have_numpys_bits(isa, set_threads, name, options, dtype):
    def updated(backend):
        params = _params(dtype)
        optimizer = getattr(optim, name)(params, **options)
        with use_backend(backend):
            for step in range(3):
                set_gradients(params, seed=step)
                optimizer.step()
        return [*_arrays(params), *optimizer.state_dict()["arrays"].values()]

    wanted = updated("reference")
    for threads in THREADS:
        set_threads(threads)
        _assert_same_bits(updated("c"), wanted)


@each_row("dtype", ["float32", "float64", "mixed"])
def test_passes_over_gradients(isa, set_threads, dtype):
    def passed(backend):
        params = _params(dtype)
        set_gradients(params, seed=1)
        params[1].grad[5:7] = np.nan, np.inf
        with use_backend(backend):
            optim.clip_grad_value(params, 0.7)
            assert np.isnan(params[1].grad[5])
            params[1].grad[5] = 0
            norm = optim.clip_grad_norm(params, 0.9)
            return norm, optim.grad_norm(params), _arrays(params)

    wanted = passed("reference")
    exact = np.sqrt(sum((np.clip(g, -0.7, 0.7).astype(np.float64) ** 2).sum() for g in _seeded(dtype)))
    np.testing.assert_allclose(wanted[0], exact, rtol=1e-6)
    results = []
    for threads in THREADS:
        set_threads(threads)
        norm, after, arrays = passed("c")
        np.testing.assert_allclose((norm, after), wanted[:2], rtol=1e-12 if dtype == "float64" else 1e-6)
        for got, expected in zip(arrays, wanted[2], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-6 if got.dtype == "float32" else 1e-13)
        results.append((norm, after, arrays))
    for norm, after, arrays in results:
        assert (norm, after) == results[0][:2]
        _assert_same_bits(arrays, results[0][2])


def _seeded(dtype):
    """Return the gradients of the test above before clipping."""
    params = _params(dtype)
    set_gradients(params, seed=1)
    params[1].grad[5:7] = 0, np.inf
    return [param.grad for param in params]


@each_row(("name", "options"), OPTIONS)
def test_an_optimiser_goes_from_backend_to_backend(c, name, options):
    def updated(backends):
        params = _params("float32")
        optimizer = getattr(optim, name)(params, **options)
        for step, backend in enumerate(backends):
            with use_backend(backend):
                set_gradients(params, seed=step)
                if step == 2:
                    params[0].grad = params[0].grad.copy()  # another array with the same values
                optimizer.step()
        assert optimizer.state_dict()["scalars"]["steps"] == [4] * len(SHAPES)
        return _arrays(params)

    _assert_same_bits(updated(["c", "reference", "c", "c"]), updated(["reference"] * 4))
