"""Clipping compared with torch.nn.utils, and gradients that are not finite."""

import numpy as np
import pytest
from optimised_params import EVERY_DTYPE, make_params, set_gradients
from tables import each_row

from fastrnn import optim
from fastrnn._core.parameter import Parameter


@pytest.mark.usefixtures("training_engine")
class TestClipping:
    @each_row("max_norm", [0.5, 1e6])
    @EVERY_DTYPE
    def test_norm_equals_torch(self, torch, dtype, max_norm):
        params = make_params(dtype)
        set_gradients(params, seed=3)
        theirs = [torch.zeros(param.shape, dtype=getattr(torch, dtype), requires_grad=True) for param in params]
        for tensor, param in zip(theirs, params, strict=True):
            tensor.grad = torch.tensor(param.grad)
        expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm).item()
        norm = optim.clip_grad_norm(params, max_norm)
        tolerance = 1e-12 if dtype == "float64" else 2e-6
        assert isinstance(norm, float)
        np.testing.assert_allclose(norm, expected, rtol=tolerance)
        for tensor, param in zip(theirs, params, strict=True):
            np.testing.assert_allclose(param.grad, tensor.grad.numpy(), rtol=tolerance)

    @EVERY_DTYPE
    def test_value_equals_torch(self, torch, dtype):
        params = make_params(dtype)
        set_gradients(params, seed=3)
        params[1].grad[0] = np.nan
        params[1].grad[1] = np.inf
        expected = [np.clip(param.grad, -0.3, 0.3) for param in params]
        optim.clip_grad_value(params, 0.3)
        for param, array in zip(params, expected, strict=True):
            np.testing.assert_array_equal(param.grad, array)
        assert np.isnan(params[1].grad[0])
        assert params[1].grad[1] == np.array(0.3, dtype)

    @EVERY_DTYPE
    def test_large_float32_gradients_do_not_overflow_the_norm(self, dtype):
        param = Parameter("w", np.zeros(4, dtype))
        param.gradient()[...] = 1e30
        np.testing.assert_allclose(optim.grad_norm([param]), 2e30, rtol=1e-6)

    @each_row("max_norm", [0.5, 1e-31])
    def test_the_largest_float32_gradients_are_clipped(self, max_norm):
        param = Parameter("w", np.zeros(4, np.float32))
        param.gradient()[...] = 3e38, -1e38, 1e10, 0
        optim.clip_grad_value([param], 1e39)
        norm = optim.clip_grad_norm([param], max_norm)  # max_norm / norm is below the normal float32 numbers
        np.testing.assert_allclose(norm, 10**38.5, rtol=1e-7)
        np.testing.assert_allclose(param.grad, max_norm * np.array([3, -1, 1e-28, 0]) / 10**0.5, rtol=1e-6, atol=1e-38)

    @EVERY_DTYPE
    def test_without_gradients(self, dtype):
        params = make_params(dtype)
        assert optim.clip_grad_norm(params, 1.0) == 0
        optim.clip_grad_value(params, 1.0)
        assert all(param.grad is None for param in params)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_are_found_by_name(value):
    params = make_params()
    set_gradients(params, seed=0)
    named = [(f"model.{param.name}", param) for param in params]
    optim.check_finite(named, step=7)
    params[3].grad[2100] = value
    with pytest.raises(optim.NonFiniteGradient, match=r"the gradient of model\.long is not finite at step 7"):
        optim.check_finite(named, step=7)
    assert not np.isfinite(optim.grad_norm(params))
    assert issubclass(optim.NonFiniteGradient, ArithmeticError)
    optim.check_finite_weights(named, step=7)
    params[0].writable()[1, 1] = value
    with pytest.raises(optim.NonFiniteWeight, match=r"model\.weight is not finite after step 7"):
        optim.check_finite_weights(named, step=7)
