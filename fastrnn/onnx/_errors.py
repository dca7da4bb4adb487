"""Errors of invalid files: any of them becomes a ValueError of one line that says where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .._core.checks import printable

# What functions of nodes and tensors raise for attributes, inputs and sizes that no valid file has.
INVALID = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)


class NotStatic(ValueError):
    """Error for a value that must be known when shapes are planned, but depends on the values of inputs."""


@contextmanager
def blaming(place: str) -> Iterator[None]:
    """Raise ValueError for an error of this block that an invalid file causes, in one line that begins with ``place``."""
    try:
        yield
    except NotStatic as error:
        raise NotStatic(f"{place}: {error}") from None
    except INVALID as error:
        raise ValueError(f"{place}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """Return the first line of an error's message, with its type if it says too little, as that of a KeyError does."""
    line = printable((str(error).splitlines() or [""])[0])
    return f"{type(error).__name__} {line}".strip() if isinstance(error, LookupError) or not line else line
