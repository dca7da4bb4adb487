"""The check that both sides compute the same, made before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._core.arrays import Array

# Relative to the largest value of an array. Sums of ten thousand float32 products differ by less, wrong formulas by more.
TOLERANCE = 2e-4
# The same if both sides round the products' operands to bfloat16, at different points, and PyTorch its results too.
BFLOAT16_TOLERANCE = 5e-2


class Disagreement(AssertionError):
    """A peer computes something else, so its time would mean nothing."""


def require(ours: Mapping[str, Array], theirs: Mapping[str, Array], tolerance: float = TOLERANCE) -> None:
    """Raise Disagreement unless the sides have an array in common and all common arrays agree."""
    common = [name for name in ours if name in theirs]
    if not common:
        raise Disagreement(f"nothing to compare: {', '.join(ours)} and {', '.join(theirs)}")
    for name in common:
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        if a.shape != b.shape:
            raise Disagreement(f"{name} has shape {a.shape} here and {b.shape} there")
        scale = max(float(np.abs(a).max()), 1e-6)
        error = float(np.abs(a - b).max()) / scale
        if not error <= tolerance:  # NaN included
            raise Disagreement(f"{name} differs by {error:.1e} of its largest value, more than {tolerance:.0e}")
