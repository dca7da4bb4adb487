"""Conditional random field: the tags of a sequence, each of which depends on its neighbour's (Lafferty et al. 2001)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import init
from .._core import checks, memory
from .._core.arrays import Array
from .._core.parameter import GradientLock, Parameter
from .._stack_validation import check_lengths
from ..backends.numpy_chain import viterbi
from ..masks import sequence_mask
from ._recurrent.inputs import array, floats
from .base import Layer

Backward = Callable[[Array], Array]


class CRF(Layer):
    """Scores of neighbouring tags in a linear-chain conditional random field (Lample et al. 2016, equation 1).

    ``x [T, B, K]`` holds a score of each of K tags at each step, such as the output of a ``Linear``. The layer adds scores
    of each pair of neighbouring tags, of the first tag and of the last::

        y[t, b, i, j] = x[t, b, j] + (start[j] if t = 0, else transitions[i, j]) + (end[j] at the sequence's last step)

    ``y [T, B, K, K]`` is what :func:`fastrnn.losses.crf_nll` takes, or ``fit(..., loss="crf_nll")``, and what :meth:`decode`
    turns into tags. Past a sequence's length y is zero.

    Parameters
    ----------
    tags
        The number K of tags.
    dtype
        ``"float32"`` or ``"float64"``.
    rng
        A numpy Generator or a seed. The initial values of ``transitions [K, K]``, ``start [K]`` and ``end [K]`` are uniform
        in ±0.1.

    Raises
    ------
    TypeError
        For an x of another dtype.
    ValueError
        For a wrong shape or wrong lengths.
    """

    takes_lengths = skips_padding = True

    def __init__(self, tags: int, *, dtype: Any = "float32", rng: np.random.Generator | int | None = None) -> None:
        self.tags = checks.positive_int("tags", tags)
        self.dtype = checks.float_dtype("dtype", dtype)
        rng = init.generator(rng)
        shapes = {"transitions": (self.tags, self.tags), "start": (self.tags,), "end": (self.tags,)}
        self.transitions, self.start, self.end = (
            Parameter(name, init.uniform(rng, shape, 0.1, self.dtype)) for name, shape in shapes.items()
        )
        self._lock = GradientLock()

    def __call__(self, x: Array, lengths: Any = None) -> Array:
        """Return the scores ``[T, B, K, K]``."""
        x, lengths = self._check(x, lengths)
        return self._scores(x, lengths)

    def forward(self, x: Array, lengths: Any = None) -> tuple[Array, Backward]:
        """Return the scores and a backward that maps dy to dx."""
        x, lengths = self._check(x, lengths)
        y = self._scores(x, lengths)
        shape = y.shape

        def backward(dy: Array) -> Array:
            dy = array("dy", dy, shape, self.dtype, "[T, B, K, K]")
            if lengths is not None:
                dy = np.where(sequence_mask(lengths, shape[0])[:, :, None, None], dy, dy.dtype.type(0))
            dx: Array = dy.sum(axis=2)
            with self._lock:
                self.transitions.gradient()[:] += dy[1:].sum(axis=(0, 1))
                self.start.gradient()[:] += dx[0].sum(axis=0)
                self.end.gradient()[:] += dx[_last(lengths, shape)].sum(axis=0)
            return dx

        return y, backward

    @staticmethod
    def decode(scores: Array, lengths: Any = None) -> NDArray[np.int64]:
        """Return the tags ``[T, B]`` with the largest sum of ``scores [T, B, K, K]``, -1 past a sequence's length.

        This is Viterbi's algorithm, in ``T B K^2`` steps. If several sequences are equally good, it returns the one whose
        last tags are the smallest. Raises TypeError or ValueError naming the argument, also for scores that are NaN.
        """
        scores = floats("scores", scores)
        if scores.ndim != 4 or scores.shape[2] != scores.shape[3] or not scores.shape[3]:
            raise ValueError(f"scores must have shape [T, B, K, K] with K at least 1, got {checks.describe(scores)}")
        T, B = scores.shape[:2]
        lengths = check_lengths(lengths, T, B)
        unmasked = sequence_mask(np.full(B, T) if lengths is None else lengths, T)
        wrong = np.isnan(scores).any(axis=(2, 3)) & unmasked
        if wrong.any():
            step, sequence = np.argwhere(wrong)[0]
            raise ValueError(f"scores must not be NaN, got NaN at step {step} of sequence {sequence}")
        return viterbi(scores, unmasked)

    def _scores(self, x: Array, lengths: Array | None) -> Array:
        y = memory.empty((*x.shape, self.tags), self.dtype)
        np.add(x[:, :, None], self.transitions.values, out=y)
        y[0] = (x[0] + self.start.values)[:, None]
        y[_last(lengths, y.shape)] += self.end.values
        if lengths is not None:
            y[~sequence_mask(lengths, len(x))] = 0
        return y

    def _check(self, x: Array, lengths: Any) -> tuple[Array, Array | None]:
        x = floats("x", x, self.dtype)
        if x.ndim != 3 or x.shape[2] != self.tags:
            raise ValueError(f"x must have shape [T, B, K] with K = {self.tags}, got {checks.describe(x)}")
        checks.steps(x)
        return x, check_lengths(lengths, x.shape[0], x.shape[1])

    def not_streaming(self) -> str:
        """Return the reason: the scores of a sequence's last step include ``end``."""
        return "it adds a score to a sequence's last step"

    def extra_repr(self) -> str:
        """Return the number of tags."""
        return f"tags={self.tags}"


def _last(lengths: Array | None, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return the indices of the last steps of the sequences that have one."""
    if lengths is None:
        return shape[0] - 1, slice(None)
    (sequences,) = np.nonzero(lengths)
    return lengths[sequences] - 1, sequences
