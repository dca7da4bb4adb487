"""Limit on the initial values of a model that is built from a file's description.

A description of a few bytes can ask for weights of any size. The file also holds the weights, so a model that needs far more
values than these does not fit the file, and is refused before they take memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .arrays import Array

TIMES = 16  # layers that share weights draw them several times, and a file stores them once
FREE = 1_000_000
TRIAL = 200_000_000  # values or bytes of the arrays with which a layer is tried, to learn the shape of its output
SMALLEST = 200  # a smaller array counts as this many values, because a layer of one unit takes memory and time as well

_left: ContextVar[float] = ContextVar("values that may still be drawn", default=math.inf)


class TooManyValues(ValueError):
    """A description asks for far more values than its file holds."""


def budget(arrays: Iterable[Array]) -> int:
    """Return the number of values that may be made of a file with these arrays."""
    return FREE + TIMES * sum(max(array.size, SMALLEST) for array in arrays)


@contextmanager
def limited_to(arrays: Iterable[Array]) -> Iterator[None]:
    """Refuse models in this block that need far more values than a file's arrays have."""
    before = _left.set(budget(arrays))
    try:
        yield
    finally:
        _left.reset(before)


def count(shape: tuple[int, ...]) -> None:
    """Count an array that is about to be made. Raises TooManyValues."""
    _left.set(left_after(shape, _left.get()))


def left_after(shape: tuple[int, ...], left: float) -> float:
    """Return what is left of a budget after an array. Raises TooManyValues."""
    size = max(math.prod(shape), SMALLEST)
    if size > left:
        raise _too_many(shape)
    return left - size


def check_trial(shapes: Iterable[tuple[int, ...]]) -> None:
    """Check the size of arrays with which a layer is tried. Raises TooManyValues in a block of :func:`limited_to`."""
    if _left.get() < math.inf:
        shapes = list(shapes)
        if sum(map(math.prod, shapes)) > TRIAL:
            raise _too_many(max(shapes, key=math.prod))


def _too_many(shape: tuple[int, ...]) -> TooManyValues:
    return TooManyValues(f"with an array of shape {shape} it needs far more values than the file holds")
