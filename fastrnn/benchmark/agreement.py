"""Nothing is timed before both sides have been found to compute the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Of the largest value of an array: what sums of some ten thousand float32 products may differ by, and no wrong formula does.
TOLERANCE = 2e-4


class Disagreement(AssertionError):
    """A peer computes something else; its time would mean nothing."""


def require(ours: Mapping[str, Array], theirs: Mapping[str, Array], tolerance: float = TOLERANCE) -> None:
    """Raise Disagreement unless all arrays that both sides give agree, and there is one at least."""
    common = [name for name in ours if name in theirs]
    if not common:
        raise Disagreement(f"nothing to compare: {', '.join(ours)} beside {', '.join(theirs)}")
    for name in common:
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        if a.shape != b.shape:
            raise Disagreement(f"{name} has shape {a.shape} here and {b.shape} there")
        scale = max(float(np.abs(a).max()), 1e-6)
        error = float(np.abs(a - b).max()) / scale
        if not error <= tolerance:  # NaN included
            raise Disagreement(f"{name} differs by {error:.1e} of its largest value, more than {tolerance:.0e}")
