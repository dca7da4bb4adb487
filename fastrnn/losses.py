"""Losses, each of which returns its value and its gradient with respect to the predictions in one pass.

All share these arguments:

``mask``
    bool, False at positions to leave out; None includes all. Its shape is that of the leading axes of the predictions, such
    as ``[T, B]``. Masked positions add nothing to the loss, their gradient is zero, and their values (which may be NaN) do
    not affect any result.
``reduction``
    ``"mean"`` or ``"sum"`` over the unmasked positions. If there are none, the loss and its gradient are zero (torch: NaN).

The loss is a Python float in nats (or squared units), summed in float64 for any dtype of the predictions. The gradient is a
new array with the predictions' shape and dtype, already divided by the number of unmasked positions for ``"mean"``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import backends
from ._core import checks
from ._core.arrays import Array
from ._core.memory import empty
from .backends.numpy_chain import forward_backward
from .backends.numpy_training import row_chunks

LossAndGradient = tuple[float, Array]

# A chunk of this many elements stays in the L2 cache.
ELEMENTWISE_CHUNK = 16384

IGNORED = -100  # the class id of positions to leave out, as in torch

REDUCTIONS = ("mean", "sum")
FLOATS = tuple(map(np.dtype, checks.DTYPES))


def softmax_cross_entropy(
    logits: Array, targets: Any, *, ignore_index: int = IGNORED, mask: Array | None = None, reduction: str = "mean"
) -> LossAndGradient:
    """Return the cross-entropy in nats of the softmax of ``logits``, and its gradient.

    The loss is ``-log(exp(logits[target]) / sum(exp(logits)))``, its gradient ``softmax(logits) - onehot(target)``. Each
    row is shifted by its largest logit first, so huge logits do not overflow; a logit of -inf means probability zero.

    Parameters
    ----------
    logits
        ``[..., V]``, float32 or float64.
    targets
        Integer class ids ``[...]``.
    ignore_index
        Positions with this target are left out, as if masked.
    mask, reduction
        See the module.

    Returns
    -------
    loss, dlogits
        A float and an array ``[..., V]``.

    Raises
    ------
    TypeError
        For a wrong dtype.
    ValueError
        For a wrong shape, or if an unmasked target is outside 0..V-1.
    """
    logits = _predictions("logits", logits)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits must have shape [..., V] with V at least 1, got {checks.describe(logits)}")
    V = logits.shape[-1]
    ids = class_ids(targets, logits.shape[:-1]).reshape(-1)
    if mask is not None:
        mask = check_mask(mask, logits.shape[:-1], exact=True).reshape(-1)
    checks.choice("reduction", reduction, REDUCTIONS)
    rows = logits.reshape(-1, V)
    ignored = class_id("ignore_index", ignore_index)
    result = backends.current().softmax_cross_entropy(rows, ids, mask, ignored, reduction == "mean")
    if result is None:
        raise ValueError(out_of_range(ids, mask, ignored, V))
    loss, dlogits = result
    return loss, dlogits.reshape(logits.shape)


def out_of_range(ids: Array, mask: Array | None, ignore_index: int, V: int) -> str:
    """Return the error message for unmasked class ids outside 0..V-1."""
    unmasked = ids[(ids != ignore_index) & (True if mask is None else mask)]
    low, high = int(unmasked.min()), int(unmasked.max())
    return f"targets must hold class ids in 0..{V - 1} (or ignore_index), got {low if low < 0 else high}"


def sigmoid_binary_cross_entropy(
    logits: Array, targets: Array, *, mask: Array | None = None, reduction: str = "mean"
) -> LossAndGradient:
    """Return the cross-entropy in nats of ``sigmoid(logits)`` against probabilities, and its gradient.

    The loss of a logit x with target t is ``-t log(sigmoid(x)) - (1-t) log(1 - sigmoid(x))``, also exact for huge and
    infinite logits. Its gradient is ``sigmoid(x) - t``. The mean is over elements.

    Parameters
    ----------
    logits
        Any shape, float32 or float64.
    targets
        Probabilities with the shape and dtype of ``logits``.
    mask, reduction
        See the module.

    Returns
    -------
    loss, dlogits
        A float and an array with the shape of ``logits``.

    Raises
    ------
    TypeError
        For a wrong dtype.
    ValueError
        For a wrong shape, or if an unmasked target is outside 0..1.
    """
    logits = _predictions("logits", logits)
    targets = checks.array("targets", targets, logits.shape, logits.dtype.name, other="")
    return _elementwise(logits, targets, mask, reduction, _sigmoid_chunk)


def _sigmoid_chunk(x: Array, t: Array, unmasked: Array) -> tuple[Array, Array]:
    wrong = unmasked & ~((t >= 0) & (t <= 1))
    if wrong.any():
        raise ValueError(f"targets must be probabilities in 0..1, got {t[wrong][0]}")
    # With w = 1-t for x > 0 and t otherwise, the loss is w |x| + log(1 + exp(-|x|)); if w = 0, |x| may be inf.
    positive = x > 0
    weight = np.abs(t - positive)
    e = np.exp(-np.abs(x))
    losses = np.where(weight == 0, 0, weight * np.abs(x)) + np.log1p(e)
    return losses, np.where(positive, 1, e) / (1 + e) - t


def mean_squared_error(
    pred: Array, targets: Array, *, mask: Array | None = None, reduction: str = "mean"
) -> LossAndGradient:
    """Return the squared error ``(pred - targets)**2`` and its gradient ``2 (pred - targets)``.

    ``pred`` and ``targets`` are float32 or float64 arrays with one shape and dtype; the mean is over elements. For ``mask``
    and ``reduction`` see the module. Raises TypeError for a wrong dtype, ValueError for a wrong shape.
    """
    pred = _predictions("pred", pred)
    targets = checks.array("targets", targets, pred.shape, pred.dtype.name, other="")
    return _elementwise(pred, targets, mask, reduction, _squared_chunk)


def _squared_chunk(x: Array, t: Array, _unmasked: Array) -> tuple[Array, Array]:
    difference = x - t
    return np.square(difference, dtype=np.float64), 2 * difference


def crf_nll(scores: Array, targets: Any, *, mask: Array | None = None, reduction: str = "mean") -> LossAndGradient:
    """Return the negative log-likelihood in nats of a linear-chain conditional random field, and its gradient.

    The score of a sequence of tags is the sum of its steps' scores, and its probability is ``exp(score) / Z``, where Z sums
    exp(score) over all K^T sequences (Lafferty, McCallum & Pereira 2001). The forward-backward algorithm computes the loss
    ``log(Z) - score(targets)``. Its gradient is each pair's probability, minus 1 for the pairs in ``targets``.

    Parameters
    ----------
    scores
        ``[T, B, K, K]``, float32 or float64, such as a :class:`fastrnn.CRF` returns: ``scores[t, b, i, j]`` is the score of
        tag j at step t after tag i at step t-1. At step 0 only ``i = 0`` is read. -inf forbids a pair; the loss is infinite
        if ``targets`` have one, and NaN if no sequence of tags is left.
    targets
        Integer tags ``[T, B]``, each 0..K-1. Those that are -100 are left out, as if masked.
    mask
        As in the module, with the shape ``[T, B]``. The unmasked steps of a sequence come before all masked ones.
    reduction
        ``"mean"`` over the unmasked steps, or ``"sum"``.

    Returns
    -------
    loss, dscores
        A float and an array ``[T, B, K, K]``.

    Raises
    ------
    TypeError
        For a wrong dtype.
    ValueError
        For a wrong shape, an unmasked target outside 0..K-1, or a masked step before an unmasked one.
    """
    scores = _predictions("scores", scores)
    if scores.ndim != 4 or scores.shape[2] != scores.shape[3] or not scores.shape[3]:
        raise ValueError(f"scores must have shape [T, B, K, K] with K at least 1, got {checks.describe(scores)}")
    K = scores.shape[-1]
    ids = class_ids(targets, scores.shape[:2], "the shape [T, B] of scores")
    unmasked = ids != IGNORED
    if mask is not None:
        unmasked &= check_mask(mask, scores.shape[:2], exact=True)
    gaps = (unmasked[1:] & ~unmasked[:-1]).any(axis=0)
    if gaps.any():
        raise ValueError(f"mask must not be True after a masked step, got such a step in sequence {gaps.argmax()}")
    if ((ids < 0) | (ids >= K))[unmasked].any():
        raise ValueError(out_of_range(ids, unmasked, IGNORED, K))
    scale = _scale(reduction, int(np.count_nonzero(unmasked)))
    log_z, dscores = forward_backward(scores, unmasked)
    before = np.concatenate([np.zeros_like(ids[:1]), ids[:-1]])
    t, b = np.nonzero(unmasked)
    pairs = t, b, before[t, b], ids[t, b]
    loss = float(log_z.sum() - scores[pairs].sum(dtype=np.float64))
    dscores[pairs] -= 1
    dscores *= scale
    return loss * scale, dscores


def _elementwise(
    x: Array, targets: Array, mask: Array | None, reduction: str, chunk: Callable[[Array, Array, Array], tuple[Array, Array]]
) -> LossAndGradient:
    """Sum an elementwise loss, where ``chunk(x, t, unmasked)`` returns the losses and derivatives of some elements."""
    mask = np.ones(x.shape, bool) if mask is None else check_mask(mask, x.shape, exact=False)
    width = x.size // mask.size if mask.size else 1
    scale = _scale(reduction, int(np.count_nonzero(mask)) * width)

    dx = empty(x.shape, x.dtype)
    shape = (mask.size, width)
    x, targets, d, unmasked = x.reshape(shape), targets.reshape(shape), dx.reshape(shape), mask.reshape(-1, 1)
    total = 0.0
    with np.errstate(invalid="ignore", over="ignore"):  # infinite and masked values follow IEEE rules without warnings
        for rows in row_chunks(*shape, ELEMENTWISE_CHUNK):
            losses, derivatives = chunk(x[rows], targets[rows], unmasked[rows])
            total += float(np.sum(losses, dtype=np.float64, where=unmasked[rows]))
            np.multiply(derivatives, scale, out=d[rows])
            d[rows][~unmasked[rows, 0]] = 0
    return total * scale, dx


def _scale(reduction: str, count: int) -> float:
    """Return the factor for each element's loss and gradient."""
    checks.choice("reduction", reduction, REDUCTIONS)
    return 1.0 / max(1, count) if reduction == "mean" else 1.0


def _predictions(name: str, value: object) -> Array:
    if not isinstance(value, np.ndarray) or value.dtype not in FLOATS:
        raise TypeError(f"{name} must be a float32 or float64 array, got {checks.describe(value)}")
    if value.flags.c_contiguous:
        return value
    return np.ascontiguousarray(value)


def class_id(name: str, value: object) -> int:
    """Return an integer of int64's range. Raises TypeError or ValueError."""
    number = checks.positive_int(name, value, smallest=-(2**63))
    if number >= 2**63:
        raise ValueError(f"{name} must be below 2^63, got {checks.describe(value)}")
    return number


def class_ids(
    targets: Any, shape: tuple[int, ...], which: str = "the shape of logits without its last axis"
) -> NDArray[np.int64]:
    """Return ``targets`` as a contiguous int64 array of this shape. Raises TypeError or ValueError."""
    ids = checks.integers("targets", targets, "hold integer class ids")
    if ids.shape != shape:
        raise ValueError(f"targets must have {which}, {shape}, got {ids.shape}")
    return np.ascontiguousarray(ids, dtype=np.int64)


def check_mask(mask: object, shape: tuple[int, ...], *, exact: bool) -> NDArray[np.bool_]:
    """Return ``mask`` as a contiguous bool array of this shape or, unless ``exact``, of its leading axes."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"mask must be a bool array, got {checks.describe(mask)}")
    if mask.shape != (shape if exact else shape[: mask.ndim]):
        leading = "" if exact else "the leading axes of "
        raise ValueError(f"mask must have the shape of {leading}{shape}, got {mask.shape}")
    return np.ascontiguousarray(mask)
