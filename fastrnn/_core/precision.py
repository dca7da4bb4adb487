"""The precision of products: the setting of the process, under torch's name and words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import checks
from .cache import SETTINGS

PRECISIONS = ("highest", "high", "medium")

_setting = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Set how the products of float32 layers are computed, in the whole process; :func:`torch.set_float32_matmul_precision`.

    It takes effect at the next call of each recurrent layer that has no ``precision`` of its own, and of each linear layer.
    A layer runs in float32 wherever the wanted products would not be faster; ``layer.plan(T, B)`` of a recurrent layer says
    what runs and why. Weights stay float32.

    Parameters
    ----------
    precision
        ``"highest"``, the default: float32. ``"high"``: results as accurate as float32's from products of int8 slices
        in recurrent layers, on a matrix unit. ``"medium"``: products of numbers rounded to bfloat16, which have 8
        significant bits, also in :class:`fastrnn.Linear` and :class:`fastrnn.optim.Muon`; sums, states and
        activations stay float32. docs/precision.md has the errors.

    Raises
    ------
    ValueError
        For another precision.
    """
    global _setting
    checks.choice("precision", precision, PRECISIONS)
    with SETTINGS.changing():
        _setting = precision


def get_float32_matmul_precision() -> str:
    """Return the setting of :func:`set_float32_matmul_precision`."""
    return _setting


@contextmanager
def use_precision(precision: str) -> Iterator[None]:
    """Set the precision within a ``with`` block; afterwards the setting is the earlier one. Raises ValueError."""
    before = _setting
    set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        set_float32_matmul_precision(before)


def optional_precision(value: object) -> str | None:
    """Validate a layer's own precision; None follows the setting. Raises ValueError."""
    return None if value is None else checks.choice("precision", value, PRECISIONS)
