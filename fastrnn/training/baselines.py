r"""What counting reaches: the held-out losses of a unigram and a bigram model of the same tokens.

With n(w) occurrences of w among the N tokens trained on, V tokens in the vocabulary, n(v,w) occurrences of w after v, n(v)
their sum over w, n1(·w) the number of different v that w follows, n1(v·) that of different w after v, n1(··) that of pairs:

.. code-block:: text

    unigram    p(w)   = (n(w) + 1) / (N + V)                                      (Laplace)
    bigram     p(w|v) = max(n(v,w) - d, 0) / n(v) + d n1(v·) / n(v) q(w)          (Kneser & Ney 1995, interpolated)
               q(w)   = max(n1(·w) - d, 0) / n1(··) + d m / n1(··) / V,   m = number of w with n1(·w) > 0
               d      = a / (a + 2 b) with a pairs that occur once and b that occur twice   (Chen & Goodman 1999)

After a v that never occurred p(w|v) = q(w).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]


def baselines(train: Sequence[Ids], held_out: Sequence[Ids], V: int) -> dict[str, float]:
    """The mean loss in nats per token of ``held_out`` under both models, counted on ``train``, by their names.

    Both are sequences of arrays of ids in 0..V-1, ends included. What comes before a first token is a token of its own.
    """
    losses = {"unigram": unigram, "bigram": bigram}
    return {name: float(loss(train, held_out, V).mean()) for name, loss in losses.items()}


def unigram(train: Sequence[Ids], held_out: Sequence[Ids], V: int) -> NDArray[np.float64]:
    """``-log p(w)`` of each held-out token."""
    counts = np.bincount(np.concatenate(train), minlength=V)
    p = (counts + 1) / (counts.sum() + V)
    losses: NDArray[np.float64] = -np.log(p[np.concatenate(held_out)])
    return losses


def bigram(train: Sequence[Ids], held_out: Sequence[Ids], V: int) -> NDArray[np.float64]:
    """``-log p(w|v)`` of each held-out token."""
    pairs, counts = np.unique(_pairs(train, V), return_counts=True)
    d = _discount(counts)
    before, after = np.divmod(pairs, V)
    total = np.bincount(before, counts, V + 1)
    followers = np.bincount(before, minlength=V + 1)
    preceding = np.bincount(after, minlength=V)
    q = (np.maximum(preceding - d, 0) + d * np.count_nonzero(preceding) / V) / len(pairs)

    asked = _pairs(held_out, V)
    v, w = np.divmod(asked, V)
    place = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    count = np.where(pairs[place] == asked, counts[place], 0)
    seen = np.maximum(total[v], 1)
    p = np.where(total[v] > 0, (np.maximum(count - d, 0) + d * followers[v] * q[w]) / seen, q[w])
    losses: NDArray[np.float64] = -np.log(p)
    return losses


def _discount(counts: NDArray[Any]) -> float:
    """d; 0.75 where no pair occurs exactly twice, or none once, and the formula has nothing to go by."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once and twice else 0.75


def _pairs(sequences: Sequence[Ids], V: int) -> NDArray[np.int64]:
    """v V + w for every w after its v; before the first is v = V."""
    w = np.concatenate(sequences).astype(np.int64)
    v = np.empty_like(w)
    v[1:] = w[:-1]
    v[np.cumsum([0, *map(len, sequences[:-1])])] = V
    result: NDArray[np.int64] = v * V + w
    return result
