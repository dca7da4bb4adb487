"""Arrays that other libraries made: torch tensors, and bfloat16, which NumPy does not have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import describe

Array = NDArray[Any]

FLOATS = "float16, bfloat16, float32 or float64"


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the float32 values of bfloat16 numbers: exact, because those are the upper halves of float32 numbers."""
    return np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)


def to_array(name: str, value: Any) -> Array:
    """Return a NumPy array, a torch tensor or what NumPy takes as an array; bfloat16 comes as float32.

    An array that NumPy can use as it is shares its memory. Raises TypeError, naming the argument, for a tensor of a dtype
    that NumPy does not have.
    """
    if hasattr(value, "detach"):
        value = _from_tensor(name, value.detach().cpu())
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":  # JAX's and ml_dtypes'
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
    """Return an array or a torch tensor of floats as an array of the given float dtype. Raises TypeError.

    What is too large for the dtype becomes infinite.
    """
    array = to_array(name, value)
    if array.dtype.kind != "f":
        raise TypeError(f"{name} must be an array of floats ({FLOATS}), got {describe(array)}")
    with np.errstate(over="ignore"):
        return array.astype(dtype)
