"""The backends' functions of single values, on every instruction set, compared with float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn import backends

FUNCTIONS = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh, "swish": lambda x: x / (1 + np.exp(-x))}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("n", [1, 3, 64, 100_003])
@pytest.mark.parametrize("in_place", [False, True])
def test_values(engine: Any, dtype: str, function: str, n: int, in_place: bool) -> None:
    x = (np.random.default_rng(n).standard_normal(n) * 4).astype(dtype)
    given = x.copy()
    y = given if in_place else np.full(n + 8, 7, dtype)[:n]
    with backends.use_backend(engine):
        run = backends.current().bind_pointwise(function, given, y)
    wanted = FUNCTIONS[function](x.astype(np.longdouble))
    eps = np.finfo(dtype).eps
    for _ in range(1 if in_place else 2):
        run()
        np.testing.assert_allclose(y, wanted.astype(dtype), rtol=6 * eps, atol=2 * eps)
    if not in_place:
        assert (y.base[n:] == 7).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_extremes(engine: Any, function: str) -> None:
    x = np.array([-np.inf, -1000, -90, 90, 1000, np.inf, np.nan, 0], np.float32)
    y = np.empty_like(x)
    with backends.use_backend(engine):
        backends.current().bind_pointwise(function, x, y)()
    ends = {"sigmoid": (0, 1), "tanh": (-1, 1)}
    if function in ends:
        low, high = ends[function]
        np.testing.assert_allclose(y[:6], [low] * 3 + [high] * 3, rtol=0, atol=1e-30)
        assert y[7] == (0.5 if function == "sigmoid" else 0)
    else:
        np.testing.assert_allclose(y[[1, 2, 3, 4, 7]], [0, 0, 90, 1000, 0], rtol=0, atol=1e-30)
    assert np.isnan(y[6])
