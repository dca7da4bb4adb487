"""Random numbers for a part of a batch.

Ranks that train one model draw the numbers of the whole batch from equal generators, and each takes its own columns. So the
masks of a batch do not depend on the number of ranks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import memory
from .arrays import Array


class PartGenerator(np.random.Generator):
    """Generator of a rank. ``columns`` are its examples among the ``total`` of a batch; None for all of them."""

    columns: Array | None = None
    total = 0


def uniforms(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, axes: tuple[int, ...] = ()) -> Array:
    """Draw numbers in [0, 1), float32 or float64.

    ``axes`` are the axes that may be the batch, the most likely one first. The first axis as long as the rank's part is
    taken for the batch. If there is none, all ranks get the same numbers.
    """
    columns = rng.columns if isinstance(rng, PartGenerator) else None
    whole, batch = list(shape), None
    if isinstance(rng, PartGenerator) and columns is not None:
        batch = next((axis for axis in axes if axis < len(shape) and shape[axis] == len(columns)), None)
        if batch is not None:
            whole[batch] = rng.total
    drawn = memory.empty(tuple(whole), dtype)
    rng.random(out=drawn, dtype=drawn.dtype.type)
    return drawn if batch is None or columns is None else drawn.take(columns, axis=batch)
