"""Random initial values of parameters.

Values are drawn in float64 and rounded, so that one seed gives the same model in float32 and in float64.
"""

from __future__ import annotations

import numpy as np

from ._core import drawing_limit
from ._core.arrays import Array
from ._core.checks import describe


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """Return the given generator, or a new one from a seed or, for None, from fresh entropy.

    Raises TypeError for any other value, ValueError for a negative seed.
    """
    if rng is not None and (isinstance(rng, bool) or not isinstance(rng, (np.random.Generator, int, np.integer))):
        raise TypeError(f"rng must be a numpy.random.Generator, an integer seed or None, got {describe(rng)}")
    if isinstance(rng, (int, np.integer)) and rng < 0:
        raise ValueError(f"rng must be at least 0 if it is a seed, got {rng}")
    return np.random.default_rng(rng)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float, dtype: str) -> Array:
    """Draw values uniformly from [-bound, bound)."""
    drawing_limit.count(shape)
    return rng.uniform(-bound, bound, shape).astype(dtype)


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Draw values from the normal distribution with mean 0 and standard deviation 1."""
    drawing_limit.count(shape)
    return rng.standard_normal(shape).astype(dtype)
