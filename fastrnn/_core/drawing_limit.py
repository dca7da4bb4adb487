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
TRIAL = 200_000_000  # values or bytes of one array with which a layer is tried, to learn the shape of its output
SMALLEST = 200  # a smaller array counts as this many values, because a layer of one unit takes memory and time as well

_left: ContextVar[float] = ContextVar("values that may still be drawn", default=math.inf)


class TooManyValues(ValueError):
    """A description asks for far more values than its file holds."""


@contextmanager
def limited_to(arrays: Iterable[Array]) -> Iterator[None]:
    """Refuse models in this block that need far more values than a file's arrays have."""
    before = _left.set(FREE + TIMES * sum(max(array.size, SMALLEST) for array in arrays))
    try:
        yield
    finally:
        _left.reset(before)


def count(shape: tuple[int, ...]) -> None:
    """Count an array that is about to be made. Raises TooManyValues."""
    size = max(math.prod(shape), SMALLEST)
    if size > _left.get():
        raise _too_many(shape)
    _left.set(_left.get() - size)


def check_trial(shape: tuple[int, ...]) -> None:
    """Check the size of an array with which a layer is tried. Raises TooManyValues in a block of :func:`limited_to`."""
    if _left.get() < math.inf and math.prod(shape) > TRIAL:
        raise _too_many(shape)


def _too_many(shape: tuple[int, ...]) -> TooManyValues:
    return TooManyValues(f"with an array of shape {shape} it needs far more values than the file holds")
