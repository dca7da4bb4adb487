"""An input for layers that only move values, and the check that such a layer's backward is its transpose."""

import numpy as np
import pytest

F64 = {"dtype": "float64"}
T, B, D = 5, 3, 6
X = np.random.default_rng(0).standard_normal((T, B, D))


def assert_adjoint(layer, *inputs, **options):
    """Assert that a linear layer's backward is its transpose: <dy, layer(v)> = <dx, v> for any v."""
    rng = np.random.default_rng(1)
    y, backward = layer.forward(*inputs, **options)
    np.testing.assert_array_equal(y, layer(*inputs, **options))
    dy, others = rng.standard_normal(y.shape), [rng.standard_normal(x.shape) for x in inputs]
    dxs = backward(dy)
    dxs = dxs if isinstance(dxs, tuple) else (dxs,)
    assert [dx.shape for dx in dxs] == [x.shape for x in inputs]
    product = sum(float((dx * v).sum()) for dx, v in zip(dxs, others, strict=True))
    assert product == pytest.approx(float((dy * layer(*others, **options)).sum()), rel=1e-12, abs=1e-12)
