"""Validation of a layer's inputs; errors name the argument."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core import checks
from ..._core.arrays import Array


def is_ids(x: object) -> bool:
    """Return whether x holds token ids, that is, whether it is an array of integers."""
    return isinstance(x, np.ndarray) and x.dtype.kind in "iu"


def array(name: str, value: Any, shape: tuple[int, ...], dtype: str, letters: str) -> Array:
    """Validate an array of this shape and dtype with any strides. Raises TypeError or ValueError."""
    if isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype:
        return value
    return checks.array(name, value, shape, dtype, letters)


def features(x: Any, size: int, dtype: str, letters: str) -> Array:
    """Validate an array whose last axis has length ``size``. Raises TypeError or ValueError."""
    if isinstance(x, np.ndarray) and x.dtype == dtype and x.ndim and x.shape[-1] == size:
        return x
    wrong_type = not isinstance(x, np.ndarray) or x.dtype != dtype
    expected = f"a {dtype} array of shape [..., {letters}={size}]"
    hint = checks.dtype_hint("x", x, dtype)
    raise (TypeError if wrong_type else ValueError)(f"x must be {expected}, got {checks.describe(x)}{hint}")


def floats(name: str, x: Any, dtype: checks.DType | None = None) -> Array:
    """Validate an array of floats, of any shape; None accepts float32 and float64. Raises TypeError."""
    if isinstance(x, np.ndarray) and (x.dtype.name in checks.DTYPES if dtype is None else x.dtype == dtype):
        return x
    hint = checks.dtype_hint(name, x, dtype or checks.DTYPES[0], other="")
    raise TypeError(f"{name} must be a {dtype or 'float32 or float64'} array, got {checks.describe(x)}{hint}")
