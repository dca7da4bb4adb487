"""Input: the start of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.checks import describe, dtype_name
from ..layers._symbolic.symbols import Axis, Spec, Symbol


def Input(shape: tuple[Axis, ...], dtype: Any = "float32", name: str | None = None) -> Symbol:
    """Make a Symbol for an input of a model.

    Parameters
    ----------
    shape
        All axes in fastrnn's order, with capital-letter strings for variable sizes: ``("T", "B", 64)`` for a sequence of
        vectors, ``("T", "B")`` with ``dtype="int64"`` for token ids, ``("B", 10)`` for vectors without time. The first axis
        is time if and only if it is a letter and the second is ``"B"``. A second time axis, such as an encoder's, needs
        another name: ``("S", "B", 64)``.
    dtype
        float32, float64, or int64 for ids of any integer dtype.
    name
        An identifier; by default the model names the input ``input``, ``input_1`` and so on.

    Raises
    ------
    TypeError, ValueError
        For an invalid shape, dtype or name.
    """
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"shape must be a tuple such as ('T', 'B', 64), got {describe(shape)}")
    for axis in shape:
        letters = isinstance(axis, str) and axis.isidentifier() and axis[0].isupper()
        number = isinstance(axis, (int, np.integer)) and not isinstance(axis, bool) and axis > 0
        if not letters and not number:
            raise ValueError(f"shape must hold capital letters and sizes of at least 1, got {describe(axis)} in {shape!r}")
    if "B" not in shape[:2]:
        raise ValueError(f"shape must have 'B' as its first axis or, after time, its second, got {shape!r}")
    if len(set(filter(lambda axis: isinstance(axis, str), shape))) < sum(isinstance(axis, str) for axis in shape):
        raise ValueError(f"shape must have each letter once, got {shape!r}")
    kind = dtype_name(dtype)
    if kind not in ("float32", "float64", "int64"):
        raise ValueError(f"dtype must be float32, float64, or int64 for ids, got {kind}")
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"name must be an identifier, got {describe(name)}")
    return Symbol(Spec(tuple(a if isinstance(a, str) else int(a) for a in shape), kind), name=name)
