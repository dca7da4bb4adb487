"""Validation of a model's arrays and lengths, and cleared padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._core.arrays import Array
from .._core.checks import GRAPH_DTYPE, describe, dtype_hint
from .._stack_validation import check_lengths
from ..layers._symbolic.padding import Padding
from ..layers._symbolic.symbols import Axis, Nest, Spec, is_nested, listed
from ..layers._symbolic.time_axes import lengths_of

DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "int64")}
Lengths = dict[Axis, Array]  # by time axis
Sizes = dict[Axis, int]  # by variable axis


def arranged(names: Nest, arrays: tuple[Any, ...], what: str) -> list[Any]:
    """Flatten the arrays of a call to a list in the order of ``names``, which are nested like the model's inputs.

    None in place of a tuple stands for a tuple of None. Raises TypeError for a wrong number of arrays.
    """
    wanted = names if isinstance(names, tuple) else (names,)
    if len(arrays) == len(wanted) and not any(map(is_nested, wanted)):
        return list(arrays)
    if len(arrays) != len(wanted):
        expected = ", ".join(map(listed, wanted))
        raise TypeError(f"{what} takes {len(wanted)} ({expected}), got {len(arrays)}")
    found: list[Any] = []
    for name, value in zip(wanted, arrays, strict=True):
        if is_nested(name):
            value = (None,) * len(name) if value is None else value
            if not is_nested(value):
                raise TypeError(f"{listed(name)} must be a tuple of {len(name)}, got {describe(value)}")
            found += arranged(name, tuple(value), listed(name))
        else:
            found.append(value)
    return found


def check_array(name: str, value: Any, spec: Spec, sizes: Sizes) -> Array:
    """Return an array that fits its spec: a float dtype must be the spec's; ids may have any integer dtype.

    ``sizes`` holds the sizes of the variable axes known so far, and new ones are added. B may be 0. Raises TypeError or
    ValueError.
    """
    wanted = DTYPES[spec.dtype]  # comparing two np.dtype objects takes half as long as comparing one with a name
    right = isinstance(value, np.ndarray) and (value.dtype == wanted or (wanted.kind == "i" and value.dtype.kind in "iu"))
    if not right or value.ndim != len(spec.shape):
        raise (ValueError if right else TypeError)(_expected(name, spec, value))
    for axis, size in zip(spec.shape, value.shape, strict=True):
        known = axis if isinstance(axis, int) else sizes.setdefault(axis, size)
        if size != known:
            why = f", where {axis} = {known} in another input" if isinstance(axis, str) else ""
            raise ValueError(_expected(name, spec, value) + why)
    if not value.size and any(not size for axis, size in zip(spec.shape, value.shape, strict=True) if axis != "B"):
        raise ValueError(_expected(name, spec, value) + ": no axis but B may be 0 long")
    array: Array = value
    return array


def fits(value: object, shape: tuple[int, ...], dtype: str) -> bool:
    """Return whether a value is an array of this shape and dtype."""
    return isinstance(value, np.ndarray) and value.shape == shape and value.dtype == DTYPES[dtype]


def _expected(name: str, spec: Spec, value: object) -> str:
    kind = "an array of integers" if spec.dtype.startswith("int") else f"a {spec.dtype} array"
    hint = dtype_hint(name, value, spec.dtype, GRAPH_DTYPE) if spec.dtype in ("float32", "float64") else ""
    return f"{name} must be {kind} of shape {spec.axes}, got {describe(value)}{hint}"


def check_all_lengths(lengths: Any, axes: list[str], sizes: Sizes) -> Lengths:
    """Return lengths as int64 ``[B]`` by time axis, without axes whose lengths are all T.

    ``axes`` are the time axes of the inputs. If there is only one, ``lengths`` may be an array. Raises TypeError or
    ValueError.
    """
    if lengths is None:
        return {}
    if not axes:
        raise ValueError(f"lengths must be None: no input has a variable time axis, got {describe(lengths)}")
    if not isinstance(lengths, Mapping):
        if len(axes) > 1:
            expected = "{" + ", ".join(f"{axis!r}: ..." for axis in axes) + "}"
            raise ValueError(f"lengths must name their time axes, {expected}, got {describe(lengths)}")
        lengths = {axes[0]: lengths}
    found: Lengths = {}
    for axis, value in lengths.items():
        if axis not in axes:
            raise ValueError(f"lengths must belong to the time axes {', '.join(axes)}, got lengths of {describe(axis)}")
        try:
            checked = check_lengths(value, sizes[axis], sizes["B"])
        except (TypeError, ValueError) as error:
            raise type(error)(str(error) if len(axes) == 1 else f"lengths[{axis!r}]: {error}") from None
        if checked is not None:
            found[axis] = checked
    return found


class Paddings:
    """Padding of one call: the positions past the lengths in arrays with a time axis."""

    def __init__(self, lengths: Lengths, sizes: Sizes) -> None:
        self._lengths = lengths
        self._of_axes = {axis: Padding(value, sizes[axis]) for axis, value in lengths.items() if axis in sizes}

    def cleared(self, array: Array | None, spec: Spec) -> Array | None:
        """Return an output or a gradient with zeros in the padding: a copy, or the array itself if it has no padding."""
        padding = self._of(array, spec)
        return array if padding is None or array is None else padding.cleared(array)

    def filled(self, array: Array | None, spec: Spec) -> Array | None:
        """Return an input with each sequence's last step in its padding: a copy, or the array itself without padding."""
        padding = self._of(array, spec)
        return array if padding is None or array is None else padding.filled(array)

    def _of(self, array: Array | None, spec: Spec) -> Padding | None:
        axis = spec.time
        if axis is None or array is None or axis in self._of_axes:
            return None if axis is None else self._of_axes.get(axis)
        lengths = lengths_of(axis, self._lengths)  # the axis may be a slice of one whose lengths are given
        return None if lengths is None else Padding(lengths, len(array))


def sizes_of(names: list[str], values: list[Any], specs: list[Spec]) -> Sizes:
    """Validate the inputs of a call and return the sizes of their variable axes. Raises TypeError or ValueError."""
    sizes: Sizes = {}
    for name, value, spec in zip(names, values, specs, strict=True):
        check_array(name, value, spec, sizes)
    return sizes


def shape_of(spec: Spec, sizes: Sizes) -> tuple[int, ...] | None:
    """Return the shape of an array of this spec, or None if the size of an axis is unknown."""
    shape = tuple(axis if isinstance(axis, int) else sizes.get(axis) for axis in spec.shape)
    return None if None in shape else shape  # type: ignore[return-value]


def zipped(gradients: Nest, specs: Nest, function: Callable[[Any, Any], Any]) -> Nest:
    """Apply a function to the leaves of two nests with the structure of ``specs``; gradients may be None."""
    if isinstance(specs, Spec):
        return function(gradients, specs)
    return tuple(zipped(gradient, spec, function) for gradient, spec in zip(gradients, specs, strict=True))
