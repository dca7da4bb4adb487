"""Validation of arguments. Each error names the argument, the expected value and the actual one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import memory
from .arrays import Array

DTYPES = ("float32", "float64")
DType = str | np.dtype[Any]  # compared with arrays' dtypes and shown in messages


class SettingError(ValueError):
    """Error for an invalid value of an environment variable, which the message names."""


def describe(value: object) -> str:
    """Return a value's text for error messages: dtype and shape for an array, also inside tuples, else its repr."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to print integers of some length
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is tuple:
        inside = ", ".join(map(describe, value))
        text = f"({inside},)" if len(value) == 1 else f"({inside})"
    else:
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def printable(text: str) -> str:
    r"""Escape the unprintable characters of a text as Python does, such as ``\n``, to show it on one terminal line."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def positive_int(name: str, value: object, smallest: int = 1) -> int:
    """Return an integer of at least ``smallest``. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {describe(value)}")
    if value < smallest:
        raise ValueError(f"{name} must be at least {smallest}, got {describe(value)}")
    return int(value)


def flag(name: str, value: object) -> bool:
    """Return a bool. Raises TypeError for other types, which often come from options passed in the wrong order."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def number(name: str, value: object, low: float, high: float = float("inf"), *, open_low: bool = False) -> float:
    """Return a real number in [low, high], or (low, high] with ``open_low``. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {describe(value)}")
    try:
        real = float(value)
    except OverflowError:  # an integer beyond float64
        real = math.inf if value > 0 else -math.inf
    if not (low < real <= high if open_low else low <= real <= high):  # NaN fails both
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}]"
        raise ValueError(f"{name} must lie in {interval}, got {describe(value)}")
    return real


def choice(name: str, value: object, options: tuple[str, ...]) -> str:
    """Return the value if it is one of the given strings. Raises ValueError."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {describe(value)}")
    return str(value)


def float_dtype(name: str, value: object) -> str:
    """Return ``"float32"`` or ``"float64"`` for any form of these dtypes. Raises ValueError for other dtypes."""
    if isinstance(value, (str, np.dtype)) and value in DTYPES:  # because a dtype takes 10 us to say its name
        return "float32" if value == "float32" else "float64"
    dtype = dtype_name(value)
    if dtype not in DTYPES:
        raise ValueError(f"{name} must be float32 or float64, got {dtype}")
    return dtype


def dtype_name(value: Any) -> str:
    """Return NumPy's name of a dtype in any form, or the description of a value that is not a dtype."""
    try:
        return describe(value) if value is None else str(np.dtype(value).name)  # None is float64 for NumPy
    except (OverflowError, SyntaxError, TypeError, ValueError):  # np.dtype parses what stands between commas as Python
        return describe(value)


# Advice for floats of another dtype, next to the advice to convert them with astype; arguments of ``dtype_hint``.
LAYER_DTYPE = 'use layers with dtype="{}"'
GRAPH_DTYPE = 'use an Input and layers with dtype="{}"'
PARAMETERS_DTYPE = "give W, R and all other arrays in {}"


def dtype_hint(name: str, value: object, dtype: DType, other: str = LAYER_DTYPE) -> str:
    """Return advice for the end of an error message about floats of another dtype, or "" for other values.

    Parameters
    ----------
    name
        The argument's name.
    value
        The argument.
    dtype
        The expected dtype.
    other
        Advice that keeps the value's dtype, with ``{}`` for that dtype.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.dtype == dtype:
        return ""
    hint = f': write {name.split()[-1]}.astype("{dtype}")'
    given = value.dtype.name
    return f"{hint}, or {other.format(given)}" if other and given in DTYPES and given != np.dtype(dtype) else hint


def array(
    name: str, value: object, shape: tuple[int, ...], dtype: DType, letters: str = "", other: str = LAYER_DTYPE
) -> Array:
    """Return ``value`` as a C-contiguous array of exactly this dtype and shape, copied only if its strides require it.

    ``letters`` names the axes in the message, such as ``"[B, H]"``; ``other`` is :func:`dtype_hint`'s. Nothing is converted
    silently, because a float64 array in a float32 layer is usually a mistake. Raises TypeError for another dtype or if
    ``value`` is not an array, ValueError for another shape.
    """
    if isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype:
        return plain(value)
    right_type = isinstance(value, np.ndarray) and value.dtype == dtype
    error = ValueError if right_type else TypeError
    expected = f"{dtype} array of shape {letters + ' = ' if letters else ''}{shape}"
    raise error(f"{name} must be a {expected}, got {describe(value)}{dtype_hint(name, value, dtype, other)}")


def steps(x: Array, time_axis: int = 0) -> None:
    """Raise ValueError if T is 0, as torch's recurrent layers do."""
    if not x.shape[time_axis]:
        advice = "for sequences without steps use lengths of 0"
        raise ValueError(f"x must have at least one time step, got {describe(x)}: {advice}")


def regular(name: str, value: Any, expected: str) -> Array:
    """Return ``value`` as an array. Raises TypeError, naming what was ``expected``, for lists of different lengths."""
    try:
        return np.asarray(value)
    except ValueError:
        raise TypeError(f"{name} must {expected}, got {describe(value)}") from None


def integers(name: str, value: object, expected: str = "hold integers") -> Array:
    """Return ``value``, possibly an empty list, as an array of integers. Raises TypeError, naming what was ``expected``."""
    array = regular(name, value, expected)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} must {expected}, got {describe(value)}")
    return array if array.size else array.astype(np.int64)


def ids(x: object, size: int, name: str = "x") -> Array:
    """Return x if it is an array of token ids in -1..size-1. Raises TypeError or ValueError, naming it ``name``."""
    if not (isinstance(x, np.ndarray) and x.dtype.kind in "iu"):
        raise TypeError(f"{name} must be an array of integer token ids, got {describe(x)}")
    if x.size:
        # For the few ids of a step, this takes a fifth of the time of min() and max().
        low, high = x.item(x.argmin()), x.item(x.argmax())
        if low < -1 or high >= size:
            raise ValueError(f"{name} must hold token ids in -1..{size - 1}, got {low if low < -1 else high}")
    return x


def plain(array: Array) -> Array:
    """Return the array if it is C-contiguous and aligned, as kernels require, else a copy in memory from the pool."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    copy = memory.empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy
