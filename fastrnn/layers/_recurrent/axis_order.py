"""Conversion between the callers' layouts and the kernels' ``[T, B, ...]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._core import checks
from ..._core.arrays import Array
from ..._core.checks import plain
from .inputs import array, is_ids


@dataclass(frozen=True, slots=True)
class Layout:
    """Order of the axes in the arrays of one call.

    Sequences are ``[T, B, ...]``, ``[B, T, ...]`` with ``batch_first``, or ``[T, ...]`` if not ``batched``. States are
    ``[L*D, B, ...]`` or, if not ``batched``, ``[L*D, ...]``; ``batch_first`` does not affect them. ``plain`` is True if
    both have the kernels' order.
    """

    batched: bool
    batch_first: bool
    plain: bool = field(init=False)  # a property would cost each call of a small layer a tenth of a microsecond

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", self.batched and not self.batch_first)

    def inward(self, value: Array) -> Array:
        """Convert a sequence from the caller's layout to contiguous ``[T, B, ...]``."""
        if not self.batched:
            value = value[:, None]
        elif self.batch_first:
            value = value.swapaxes(0, 1)
        return plain(value)

    def outward(self, value: Array) -> Array:
        """Convert a sequence from ``[T, B, ...]`` to the caller's layout, as a view."""
        if not self.batched:
            return value[:, 0]
        return value.swapaxes(0, 1) if self.batch_first else value

    def check_gradient(self, name: str, value: Any, output: Array | None, letter: str) -> Array | None:
        """Validate the gradient of ``output [T, B, ...]`` and convert it to that shape; None is zero.

        ``letter`` names the last axis in the message. Raises TypeError or ValueError.
        """
        if value is None or output is None:
            return None
        axes = ("B, T, " if self.batch_first else "T, B, ") if self.batched else "T, "
        shape = self.outward(output).shape
        return self.inward(array(name, value, shape, output.dtype.name, f"[{axes}{letter}]"))

    def check_state(
        self, name: str, value: Any, shape: tuple[int, int, int], dtype: checks.DType, axes: str
    ) -> Array | None:
        """Return a state as contiguous ``shape = [L*D, B, size]``; None is zeros. Raises TypeError or ValueError."""
        if value is None:
            return None
        if self.batched:
            return checks.array(name, value, shape, dtype, axes)
        return checks.array(name, value, (shape[0], shape[2]), dtype, axes.replace("B, ", ""))[:, None]

    def pack_state(self, h: Array, c: Array | None) -> Any:
        """Return h, or (h, c) if c is not None, in the caller's layout."""
        if not self.batched:
            h, c = h[:, 0], None if c is None else c[:, 0]
        return h if c is None else (h, c)


# LAYOUTS[batch_first][batched]: looking up a layout takes a tenth of the time of making one.
LAYOUTS = [[Layout(batched, first) for batched in (False, True)] for first in (False, True)]


def arranged(x: Any, input_size: int, dtype: np.dtype[Any], layouts: list[Layout]) -> tuple[Layout, Array]:
    """Return the layout of x, from one row of ``LAYOUTS``, and x as contiguous ``[T, B, I]`` or ids ``[T, B]``.

    Raises TypeError or ValueError. It does not check the values of ids.
    """
    if isinstance(x, np.ndarray) and x.size:
        ndim = x.ndim
        if x.dtype == dtype:
            if (ndim == 3 or ndim == 2) and x.shape[-1] == input_size:
                layout = layouts[ndim == 3]
                return layout, x if layout.plain and x.flags.c_contiguous else layout.inward(x)
        elif (ndim == 2 or ndim == 1) and is_ids(x):
            layout = layouts[ndim == 2]
            return layout, layout.inward(x)
    layout = _unusual_layout(x, input_size, dtype, layouts)
    return layout, layout.inward(x)


def _unusual_layout(x: Any, input_size: int, dtype: np.dtype[Any], layouts: list[Layout]) -> Layout:
    """Return the layout of an empty x, which has no sequences. Raises TypeError or ValueError for an invalid x."""
    right_type, fits = isinstance(x, np.ndarray) and (is_ids(x) or x.dtype == dtype), False
    if isinstance(x, np.ndarray):
        features = int(not is_ids(x))
        axes = x.ndim - features
        fits = axes in (1, 2) and x.shape[axes:] == (input_size,) * features
        if fits and right_type:  # so x is empty; only T = 0 is an error
            checks.steps(x, int(axes == 2 and layouts[0].batch_first))
            return layouts[axes == 2]
    time_batch = "[B, T" if layouts[0].batch_first else "[T, B"
    raise (ValueError if right_type else TypeError)(
        f"x must be a {dtype} array of shape {time_batch}, I={input_size}] or [T, I={input_size}], or integer token ids "
        f"{time_batch}] or [T], got {checks.describe(x)}{checks.dtype_hint('x', x, dtype) if fits else ''}"
    )


# Names of the two halves of an LSTM's state in messages.
HALVES = {name: (f"{name}'s h", f"{name}'s c") for name in ("state", "dstate")}


def pair(name: str, state: Any) -> tuple[Any, Any]:
    """Return h and c of an LSTM's state. Raises TypeError if it is not a pair."""
    if isinstance(state, (tuple, list)) and len(state) == 2:
        return state[0], state[1]
    raise TypeError(f"{name} must be a pair (h, c), got {checks.describe(state)}")
