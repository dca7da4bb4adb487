"""Masks of padded sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import checks


def sequence_mask(lengths: Any, T: int | None = None) -> NDArray[np.bool_]:
    """Return a mask for the losses, bool ``[T, B]``, True at steps before each sequence's length.

    ``lengths [B]`` are integers in 0..T; T is by default the largest of them. Raises TypeError or ValueError.
    """
    lengths = checks.integers("lengths", lengths)
    if lengths.ndim != 1:
        raise TypeError(f"lengths must be integers of shape [B], got {checks.describe(lengths)}")
    longest = int(lengths.max(initial=0))
    T = longest if T is None else checks.positive_int("T", T, smallest=0)
    if longest > T or int(lengths.min(initial=0)) < 0:
        wrong = longest if longest > T else int(lengths.min())
        raise ValueError(f"lengths must lie in 0..T={T}, got {wrong}")
    mask: NDArray[np.bool_] = np.arange(T)[:, None] < lengths
    return mask
