"""Layers and inputs for tests of "medium", whose products have operands that are rounded to bfloat16."""

from __future__ import annotations

import numpy as np

import fastrnn
from fastrnn._core.conversion import from_bfloat16, to_bfloat16

X = np.random.default_rng(0).standard_normal((6, 3, 40), dtype=np.float32)


def layer_of(**options: object) -> fastrnn.LSTM:
    """Return a layer for X."""
    return fastrnn.LSTM(40, 64, rng=0, **options)


def rounded(values: np.ndarray) -> np.ndarray:
    """Return the values as operands of "medium" have them, in float64."""
    return from_bfloat16(to_bfloat16(values.astype(np.float32))).astype(np.float64)
