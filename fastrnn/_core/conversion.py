"""Conversion of other libraries' arrays: torch tensors, and bfloat16, which NumPy lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array
from .checks import describe, regular

FLOATS = "float16, bfloat16, float32 or float64"


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the exact float32 values of bfloat16 numbers, which are the upper halves of float32 numbers."""
    return np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)


class Bfloat16:
    """The bits of a bfloat16 array, uint16, for :func:`fastrnn.serialization.save_arrays`."""

    __slots__ = ("bits",)

    def __init__(self, bits: NDArray[np.uint16]) -> None:
        self.bits = bits


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the bits of float32 values rounded to bfloat16, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    quiet_nan = bits >> 16 | np.uint32(0x40)
    return np.where(np.isnan(values), quiet_nan, rounded).astype(np.uint16)


def to_array(name: str, value: Any) -> Array:
    """Convert a NumPy array, a torch tensor or any array-like value to a NumPy array; bfloat16 becomes float32.

    The result shares the value's memory if possible. Raises TypeError, naming the argument, for a tensor of a dtype that
    NumPy lacks.
    """
    if hasattr(value, "detach"):
        value = _from_tensor(name, value.detach().cpu())
    array = regular(name, value, f"be an array of floats ({FLOATS})")
    if array.dtype.name == "bfloat16":  # a dtype of ml_dtypes, which JAX uses
        return from_bfloat16(np.ascontiguousarray(array).view(np.uint16))
    return array


def _from_tensor(name: str, tensor: Any) -> Array:
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    try:
        array: Array = tensor.numpy()
    except TypeError:  # "Got unsupported ScalarType Float8_e4m3fn"
        shown = f"{tensor.dtype} tensor of shape {tuple(tensor.shape)}"
        raise TypeError(f"{name} must be of a dtype that NumPy has, got {shown}: convert it, tensor.float()") from None
    return array


def to_floats(name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """Convert an array or a torch tensor of floats to an array of the given float dtype. Raises TypeError.

    Values too large for the dtype become infinite.
    """
    array = to_array(name, value)
    if array.dtype.kind != "f":
        raise TypeError(f"{name} must be an array of floats ({FLOATS}), got {describe(array)}")
    with np.errstate(over="ignore"):
        return array.astype(dtype)
