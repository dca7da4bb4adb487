"""Weights of int8: their scales, and products in integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from compressed_layers import assert_close, expanded, needs_c, normal

import fastrnn
from fastrnn._core.compressed_parameter import quantize_rows


def sixteen_bits(rows: np.ndarray) -> np.ndarray:
    """Round each row to 16 bits as the C kernels do: to a multiple of 1/32,600 of its largest magnitude."""
    factor = np.float32(32_600) / np.abs(rows).max(-1, keepdims=True)
    q = rows * factor
    return np.trunc(q + np.copysign(np.float32(0.5), q)) / factor.astype(np.float64)


@needs_c
@pytest.mark.parametrize(("input_size", "hidden_size"), [(96, 70), (1100, 33), (61, 520)])
def test_int8_products_round_rows_to_sixteen_bits(input_size: int, hidden_size: int, c: Any) -> None:
    layer = fastrnn.RNN(input_size, hidden_size, rng=1).compress("int8")
    exact = fastrnn.RNN(input_size, hidden_size, dtype="float64", rng=0, backend="reference")
    for name, parameter in exact.named_parameters():
        parameter.assign(np.array(getattr(layer, name)).astype(np.float64))
    for B in (1, 3, 40):
        x, h = normal(1, B, input_size), normal(1, B, hidden_size).clip(-1, 1)
        values = exact(x.astype(np.float64), h.astype(np.float64))[0]
        rounded = exact(sixteen_bits(x), sixteen_bits(h))[0]
        assert np.abs(rounded - values).max() > 1e-5  # so the two can be told apart
        for isa in c.isa_names():
            c.set_isa(isa)
            np.testing.assert_allclose(layer(x, h)[0], rounded, rtol=0, atol=3e-6)


@needs_c
@pytest.mark.parametrize("outliers", [[7], [7, 21], range(31)])
def test_outliers_do_not_coarsen_their_row(outliers: Sequence[int], c: Any) -> None:
    """Large features with weights of 0 change nothing. Neither do rows of zeros, of tiny numbers, or of a single number."""
    layer = fastrnn.GRU(64, 40, rng=1)
    weights = np.array(layer.weight_ih_l0)
    weights[:, list(outliers)] = 0
    layer.weight_ih_l0.assign(weights)
    layer = layer.compress("int8")
    x = normal(3, 7, 64)
    x[:, 2] = 0
    x[:, 3] *= 1e-25
    x[:, 5] = np.eye(64, dtype=np.float32)[:3] * 3  # 16 bits hold it without an error
    expected = expanded(layer)(x)[0]
    for row, scale in ((1, 1e6), (4, -1e28), (6, 400)):
        x[:, row, list(outliers)] = scale
    for isa in c.isa_names():
        c.set_isa(isa)
        assert_close(layer(x)[0], expected, "int8", isa)


@needs_c
@pytest.mark.parametrize("exponent", [-115, 60, 115])
def test_weights_and_inputs_of_opposite_sizes(exponent: int, c: Any) -> None:
    layer, x = fastrnn.GRU(64, 40, rng=1), normal(3, 7, 64)
    expected = expanded(layer.compress("int8"))(x)[0]
    layer.weight_ih_l0.assign(np.ldexp(np.array(layer.weight_ih_l0), -exponent))
    layer = layer.compress("int8")
    for isa in c.isa_names():
        c.set_isa(isa)
        assert_close(layer(np.ldexp(x, exponent))[0], expected, "int8", isa)


@needs_c
@pytest.mark.parametrize(
    ("weights", "x", "outliers"),
    [
        pytest.param(1e36, 1e12, 1, id="the product of the scales is infinite"),
        pytest.param(1e-20, 1e-16, 1, id="the product of the scales is denormal"),
        pytest.param(1, 1e20, 1e11, id="float32 computes the rows"),
    ],
)
def test_products_of_huge_and_tiny_numbers(weights: float, x: float, outliers: float, c: Any) -> None:
    """y = relu(W x), of which the sum for unit 0 is zero, and that for unit 1 is one weight times the large numbers."""
    signs = np.resize([1, -1], 64)
    W = np.array([signs, np.eye(64)[0]], np.float32) * np.float32(weights)
    inputs = np.full((1, 1, 64), x, np.float32)
    inputs[..., :2] *= np.float32(outliers)
    layer = fastrnn.RNN(64, 2, nonlinearity="relu", bias=False, rng=0)
    layer.weight_ih_l0.assign(W)
    with np.errstate(over="ignore"):
        expected = [0, np.float32(weights) * inputs[0, 0, 0]]
    layer = layer.compress("int8")
    for isa in c.isa_names():
        c.set_isa(isa)
        np.testing.assert_allclose(layer(inputs)[0][0, 0], expected, rtol=1e-4, err_msg=isa)


@needs_c
def test_infinity_beside_huge_numbers(c: Any) -> None:
    signs = np.resize(np.array([1, -1], np.float32), 64)
    layer = fastrnn.RNN(64, 2, nonlinearity="relu", bias=False, rng=0)
    layer.weight_ih_l0.assign(np.array([signs, -signs]))
    x = np.full((1, 1, 64), 1e31, np.float32)
    x[..., 0] = np.inf
    layer = layer.compress("int8")
    for isa in c.isa_names():
        c.set_isa(isa)
        np.testing.assert_array_equal(layer(x)[0][0, 0], [np.inf, 0], isa)


def test_int8_scales_each_row() -> None:
    rows = np.array([[127, -63.5, 0.5, 1.5], [0, 0, 0, 0], [-2.54, 1.27, 0.014, -0.016], [1e-45, 0, 0, 0]], np.float32)
    codes, scales = quantize_rows("w", rows)
    assert codes.tolist() == [[127, -64, 0, 2], [0, 0, 0, 0], [-127, 64, 1, -1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(scales, np.array([1, 0, np.float32(2.54) / np.float32(127), 0], np.float32))
    for wrong in (np.nan, np.inf):
        rows[2, 1] = wrong
        with pytest.raises(ValueError, match=r"^w must be finite to become int8: row 2 holds NaN or infinity$"):
            quantize_rows("w", rows)
