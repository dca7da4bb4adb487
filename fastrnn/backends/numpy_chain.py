"""Linear chains of K tags: the forward-backward algorithm and Viterbi's algorithm, for a batch of sequences.

``scores [T, B, K, K]`` are float32 or float64: ``scores[t, b, i, j]`` is the score of tag j at step t of sequence b if tag i
is at step t-1. No tag comes before step 0, where only row ``i = 0`` is read. A score of -inf forbids a pair of tags.
``unmasked [T, B]`` is True at the steps of each sequence, which come first. Later scores may be NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._core.arrays import Array


def forward_backward(scores: Array, unmasked: NDArray[np.bool_]) -> tuple[NDArray[np.float64], Array]:
    """Return ``log_z [B]``, the log of the sum over all tag sequences of exp(score), and its gradient ``[T, B, K, K]``.

    ::

        (1) a_0(j) = s_0(0, j)
        (2) a_t(j) = log(sum over i of exp(a_{t-1}(i) + s_t(i, j)))     q_t(i | j) = exp(a_{t-1}(i) + s_t(i, j) - a_t(j))
        (3) log_z  = log(sum over j of exp(a_{T-1}(j)))                 g_{T-1}(j) = exp(a_{T-1}(j) - log_z)

        (2) ds_t(i, j) = g_t(j) q_t(i | j)     g_{t-1}(i) = sum over j of ds_t(i, j)
        (1) ds_0(0, j) = g_0(j)

    The gradient of log_z with respect to a score is the probability of its pair of tags; g_t(j) is that of tag j at step t,
    and q_t(i | j) that of tag i before it. All are products of probabilities, so nothing cancels.

    Each step shifts ``a`` by its largest value. The shifts are summed in float64, so long sequences in float32 lose no
    accuracy. A sequence without steps has ``log_z = 0``. The cost is ``T B K^2``.
    """
    T, B = scores.shape[:2]
    gradient = np.zeros_like(scores)  # first q, then ds
    log_z = np.zeros(B)
    if not T:
        return log_z, gradient
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a = np.where(unmasked[0, :, None], scores[0, :, 0], scores.dtype.type(0))
        for t in range(1, T):
            here = unmasked[t, :, None]
            # Masked sequences get scores of 0, and keep their a.
            routes = a[:, :, None] + np.where(here[:, :, None], scores[t], scores.dtype.type(0))
            top, total, q = _shifted_exp(routes, axis=1)
            np.divide(q, total, out=gradient[t], where=here[:, :, None] & (total > 0))
            reached = (top + np.log(total))[:, 0]
            shift = np.where(unmasked[t], reached.max(axis=1), 0)
            log_z += shift
            a = np.where(here, reached - shift[:, None].astype(a.dtype), a)
        top, total, g = _shifted_exp(a, axis=1)
        log_z += np.where(unmasked[0], (top + np.log(total))[:, 0], 0)
        g = np.where(unmasked[0, :, None], g / total, scores.dtype.type(0))
        for t in range(T - 1, 0, -1):
            gradient[t] *= g[:, None]
            g = np.where(unmasked[t, :, None], gradient[t].sum(axis=2), g)
    gradient[0, :, 0] = g
    return log_z, gradient


def _shifted_exp(x: Array, axis: int) -> tuple[Array, Array, Array]:
    """Return ``top, total, exp(x - top)``, where exp(x) sums to ``exp(top) total`` along the axis, which is kept."""
    top = x.max(axis=axis, keepdims=True)
    top[np.isneginf(top)] = 0  # no finite score: the total is zero
    exp = np.exp(x - top)
    return top, exp.sum(axis=axis, keepdims=True), exp


def viterbi(scores: Array, unmasked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the tags ``[T, B]`` of each sequence with the largest sum of scores, and -1 at masked steps.

    ::

        v_0(j) = s_0(0, j)     v_t(j) = max over i of v_{t-1}(i) + s_t(i, j)

    The tags follow the maxima from the last step back to the first. Of equal maxima the smallest tag is taken. Sums are in
    float64.
    """
    T, B, K, _ = scores.shape
    path = np.full((T, B), -1)
    if not (T and B):
        return path
    best = np.where(unmasked[0, :, None], scores[0, :, 0], 0).astype(np.float64)
    back = np.zeros((T, B, K), np.int64)
    for t in range(1, T):
        routes = best[:, :, None] + scores[t]
        here = unmasked[t, :, None]
        back[t] = np.where(here, routes.argmax(axis=1), np.arange(K))
        best = np.where(here, routes.max(axis=1), best)
    tag = best.argmax(axis=1)
    for t in range(T - 1, -1, -1):
        path[t] = np.where(unmasked[t], tag, -1)
        tag = back[t, np.arange(B), tag]
    return path
