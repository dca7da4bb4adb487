"""Helpers for tests of layers with compressed weights."""

from __future__ import annotations

import numpy as np
import pytest

import fastrnn
from fastrnn.backends import available, current

needs_c = pytest.mark.skipif("c" not in available(), reason="needs the C backend")


def assert_close(found: np.ndarray, values: np.ndarray, form: str, isa: str = "") -> None:
    """Compare with the results of float32. The C backend multiplies int8 weights by 16 bits of each input and state.

    These change each number of a row by up to 1 / 65,200 of the largest. In a product of 131 normal numbers and new weights
    that adds up to 4e-5 (rms), so 2e-4 is five standard deviations.
    """
    atol = 2e-4 * max(1, np.nanmax(np.abs(values))) if form == "int8" and current().name == "c" else 3e-6
    np.testing.assert_allclose(found, values, rtol=2e-5, atol=atol, err_msg=isa)


def expanded(layer: fastrnn.LSTM) -> fastrnn.LSTM:
    """Return a float32 layer with the values of a compressed one."""
    config = layer.config() | {"compression": None}
    plain = type(layer)(**config, rng=0)
    for name, parameter in plain.named_parameters():
        parameter.assign(np.array(getattr(layer, name)))
    return plain


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)
