r"""Held-out losses of two models that only count tokens: a unigram and a bigram model.

.. code-block:: text

    unigram    p(w)   = (n(w) + 1) / (N + V)                                      (Laplace)
    bigram     p(w|v) = max(n(v,w) - d, 0) / n(v) + d n1(v·) / n(v) q(w)          (Kneser & Ney 1995, interpolated)
               p(w|v) = q(w)   if v never occurred
               q(w)   = max(n1(·w) - d, 0) / n1(··) + d m / n1(··) / V,   m = number of w with n1(·w) > 0
               d      = a / (a + 2 b) with a pairs that occur once and b that occur twice   (Chen & Goodman 1999)

    N          number of training tokens
    V          number of tokens in the vocabulary
    n(w)       number of times that w occurs
    n(v,w)     number of times that w follows v; n(v) is the sum over w
    n1(·w)     number of distinct v that w follows
    n1(v·)     number of distinct w that follow v
    n1(··)     number of distinct pairs
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]
Loss = Callable[[Ids], NDArray[np.float64]]  # of pairs of tokens v, w, each the number v * V + w

BLOCK = 1 << 21  # tokens counted at a time
TABLE = 1 << 22  # largest number of possible pairs for which a full table of counts is allocated


def baselines(train: Iterable[Ids], held_out: Iterable[Ids], V: int) -> dict[str, float]:
    """Return the mean loss of ``held_out`` in nats per token under each model, counted on ``train``, by model name.

    Both arguments yield arrays of ids in 0..V-1, ends included, and are iterated once. The beginning of an array counts as a
    token of its own.
    """
    return baselines_of_pairs(*counted_pairs(train, V), held_out, V)


def baselines_of_pairs(pairs: Ids, counts: Ids, held_out: Iterable[Ids], V: int) -> dict[str, float]:
    """Return :func:`baselines` from the training ``counts`` of the ascending ``pairs`` v V + w.

    v = V stands for the beginning of an array.
    """
    losses = {"unigram": _unigram(pairs, counts, V), "bigram": _bigram(pairs, counts, V)}
    sums, tokens = dict.fromkeys(losses, 0.0), 0
    for block in _pairs(held_out, V):
        tokens += len(block)
        for name, loss in losses.items():
            sums[name] += float(loss(block).sum())
    return {name: total / tokens for name, total in sums.items()}


def unigram(train: Iterable[Ids], held_out: Iterable[Ids], V: int) -> NDArray[np.float64]:
    """Return ``-log p(w)`` of each held-out token."""
    loss = _unigram(*counted_pairs(train, V), V)
    return np.concatenate([loss(block) for block in _pairs(held_out, V)])


def bigram(train: Iterable[Ids], held_out: Iterable[Ids], V: int) -> NDArray[np.float64]:
    """Return ``-log p(w|v)`` of each held-out token."""
    loss = _bigram(*counted_pairs(train, V), V)
    return np.concatenate([loss(block) for block in _pairs(held_out, V)])


def _unigram(pairs: Ids, counts: Ids, V: int) -> Loss:
    each = np.bincount(pairs % V, counts, V)
    p = (each + 1) / (each.sum() + V)
    return lambda block: -np.log(p[block % V])


def _bigram(pairs: Ids, counts: Ids, V: int) -> Loss:
    d = _discount(counts)
    before, after = np.divmod(pairs, V)
    total = np.bincount(before, counts, V + 1)
    followers = np.bincount(before, minlength=V + 1)
    preceding = np.bincount(after, minlength=V)
    q = (np.maximum(preceding - d, 0) + d * np.count_nonzero(preceding) / V) / len(pairs)

    def loss(block: Ids) -> NDArray[np.float64]:
        v, w = np.divmod(block, V)
        place = np.minimum(np.searchsorted(pairs, block), len(pairs) - 1)
        count = np.where(pairs[place] == block, counts[place], 0)
        n_v = np.maximum(total[v], 1)
        p = np.where(total[v] > 0, (np.maximum(count - d, 0) + d * followers[v] * q[w]) / n_v, q[w])
        losses: NDArray[np.float64] = -np.log(p)
        return losses

    return loss


def _discount(counts: NDArray[Any]) -> float:
    """Return the discount d; 0.75 if no pair occurs exactly once or none exactly twice, because the formula needs both."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once and twice else 0.75


def counted_pairs(sequences: Iterable[Ids], V: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct pairs v V + w in ascending order, and the count of each; v = V before the first token."""
    if V * (V + 1) <= TABLE:
        table = np.zeros(V * (V + 1), np.int64)
        for block in _pairs(sequences, V):
            table += np.bincount(block, minlength=len(table))
        found = np.flatnonzero(table)
        return found, table[found]
    pairs, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for block in _pairs(sequences, V):
        new, new_counts = np.unique(block, return_counts=True)
        pairs, place = np.unique(np.concatenate([pairs, new]), return_inverse=True)
        both = np.bincount(place, np.concatenate([counts, new_counts]), len(pairs))
        counts = both.astype(np.int64)  # exact: no count comes near 2^53
    return pairs, counts


def _pairs(sequences: Iterable[Ids], V: int) -> Iterator[NDArray[np.int64]]:
    """Yield v V + w for every w that follows v, one block at a time; v = V before the first token."""
    parts: list[tuple[int, Ids]] = []
    size = 0
    for ids in sequences:
        for start in range(0, len(ids), BLOCK):
            part = ids[start : start + BLOCK]
            parts.append((int(ids[start - 1]) if start else V, part))
            size += len(part)
            if size >= BLOCK:
                yield _joined(parts, V)
                parts, size = [], 0
    if parts:
        yield _joined(parts, V)


def _joined(parts: Sequence[tuple[int, Ids]], V: int) -> NDArray[np.int64]:
    w = np.concatenate([part for _, part in parts]).astype(np.int64)
    v = np.empty_like(w)
    v[1:] = w[:-1]
    v[np.cumsum([0, *(len(part) for _, part in parts[:-1])])] = [before for before, _ in parts]
    result: NDArray[np.int64] = v * V + w
    return result
