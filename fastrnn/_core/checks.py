"""Checks of arguments: each says which argument, what was expected and what came."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import memory

Array = NDArray[Any]

DTYPES = ("float32", "float64")
DType = str | np.dtype[Any]  # what an array's dtype is compared with, and how messages name it


class SettingError(ValueError):
    """An environment variable has a value that cannot be; the message names it."""


def describe(value: object) -> str:
    """A value as error messages show it: an array by dtype and shape, also within tuples, anything else by its repr."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    if type(value) is tuple:
        inside = ", ".join(map(describe, value))
        text = f"({inside},)" if len(value) == 1 else f"({inside})"
    else:
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def printable(text: str) -> str:
    """A text as a line on a terminal: line breaks, escapes and the like as Python writes them, such as ``\\n``."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def positive_int(name: str, value: object, smallest: int = 1) -> int:
    """An integer of at least ``smallest``. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {describe(value)}")
    if value < smallest:
        raise ValueError(f"{name} must be at least {smallest}, got {value}")
    return int(value)


def flag(name: str, value: object) -> bool:
    """True or False. Raises TypeError: an option in the wrong place is a usual slip with torch's long signatures."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def number(name: str, value: object, low: float, high: float = float("inf"), *, open_low: bool = False) -> float:
    """A real number in [low, high] (``open_low``: (low, high]). Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {describe(value)}")
    if not (low < value <= high if open_low else low <= value <= high):  # NaN fails both
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}]"
        raise ValueError(f"{name} must lie in {interval}, got {value}")
    return float(value)


def choice(name: str, value: object, options: tuple[str, ...]) -> str:
    """One of the given strings. Raises ValueError."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {describe(value)}")
    return str(value)


def float_dtype(name: str, value: object) -> str:
    """``"float32"`` or ``"float64"`` for anything numpy takes as a dtype. Raises ValueError."""
    try:
        dtype = np.dtype(value).name  # type: ignore[call-overload]
    except TypeError:
        dtype = repr(value)
    if dtype not in DTYPES:
        raise ValueError(f"{name} must be float32 or float64, got {dtype}")
    return str(dtype)


# How else a call can be put right that was given floats of another dtype; the argument of ``dtype_hint``.
LAYER_DTYPE = 'use layers with dtype="{}"'
GRAPH_DTYPE = 'use an Input and layers with dtype="{}"'
PARAMETERS_DTYPE = "give W, R and all other arrays in {}"


def dtype_hint(name: str, value: object, dtype: DType, other: str = LAYER_DTYPE) -> str:
    """Return the end of a message about floats of another dtype: the ways out. Return "" for anything else.

    ``name`` is the argument's, ``dtype`` the one that was expected, ``other`` the way out that keeps the value's dtype.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.dtype == dtype:
        return ""
    hint = f': write {name.split()[-1]}.astype("{dtype}")'
    given = value.dtype.name
    return f"{hint}, or {other.format(given)}" if other and given in DTYPES and given != np.dtype(dtype) else hint


def array(
    name: str, value: object, shape: tuple[int, ...], dtype: DType, letters: str = "", other: str = LAYER_DTYPE
) -> Array:
    """Return ``value`` as a C-contiguous array of exactly this dtype and shape, copied only when its strides demand it.

    ``letters`` names the axes in the message, such as ``"[B, H]"``; ``other`` is :func:`dtype_hint`'s. Raises TypeError for
    what is not an array or has another dtype, ValueError for another shape. Nothing is converted silently: a float64 array
    in a float32 layer is usually a mistake.
    """
    if isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype:
        return plain(value)
    right_type = isinstance(value, np.ndarray) and value.dtype == dtype
    error = ValueError if right_type else TypeError
    expected = f"{dtype} array of shape {letters + ' = ' if letters else ''}{shape}"
    raise error(f"{name} must be a {expected}, got {describe(value)}{dtype_hint(name, value, dtype, other)}")


def steps(x: Array, time_axis: int = 0) -> None:
    """Raise ValueError for sequences of no steps at all, as torch's recurrent layers do."""
    if not x.shape[time_axis]:
        way = "a batch may hold sequences of no steps as lengths of 0"
        raise ValueError(f"x must have at least one time step, got {describe(x)}: {way}")


def integers(name: str, value: object) -> Array:
    """Return ``value`` as an array of integers, an empty list as one of none. Raises TypeError."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} must hold integers, got {describe(value)}")
    return array if array.size else array.astype(np.int64)


def ids(x: object, size: int) -> Array:
    """Token ids in -1..size-1, in an array of any shape. Raises TypeError or ValueError."""
    if not (isinstance(x, np.ndarray) and x.dtype.kind in "iu"):
        raise TypeError(f"x must be an array of integer token ids, got {describe(x)}")
    if x.size:
        # A fifth of the time of min() and max() for the few ids of a step.
        low, high = x.item(x.argmin()), x.item(x.argmax())
        if low < -1 or high >= size:
            raise ValueError(f"x must hold token ids in -1..{size - 1}, got {low if low < -1 else high}")
    return x


def plain(array: Array) -> Array:
    """The array as kernels take it: C-contiguous and aligned; copied only where it is not, into memory from the pool."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    copy = memory.empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy
