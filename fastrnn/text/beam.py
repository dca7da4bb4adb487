"""Beam search: the likeliest sequences of a model that predicts one token after another.

Each step extends all sequences in the beam and selects the ``width`` likeliest results. A sequence that ends occupies its
place for good, so a search ends when ``width`` sequences have ended. At the end they are ranked by

.. code-block:: text

    score(y) = log P(y | x) / n^a        n tokens of y, its end included; a = 0: plain log probability, 1: its mean

An exponent a > 0 reduces the advantage of short sequences. A width of 1 is greedy search; a width of the number of all
sequences finds the best of them. Letters: ``B`` parallel searches, ``K`` sequences in the beam of each, ``N = B*K`` rows,
``V`` tokens in the vocabulary.

Sources: Sutskever, Vinyals & Le 2014, Sequence to sequence learning with neural networks; Graves 2012, Sequence
transduction with recurrent neural networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core import checks
from .._core.arrays import Array
from ..sampling import log_softmax

Step = Callable[[Array, Any], tuple[Array, Any]]
Reorder = Callable[[Any, Array], Any]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """Result of a search: its ``tokens`` without start and end, and the natural logarithm of its probability.

    Results are ranked by ``score``. ``ended`` is True if the model ended the sequence, False if ``max_length`` did.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float
    ended: bool


@dataclass(slots=True)
class _Beam:
    """Beam of ``tokens`` int64 ``[B,K,t]``, with ``logp`` float64, ``ended`` bool and ``lengths`` int64 ``[B,K]``.

    A row of log probability -inf is an empty place, because there were fewer continuations than places.
    """

    tokens: Array
    logp: Array
    ended: Array
    lengths: Array

    def live(self) -> Array:
        """Return the mask of the rows that continue, bool ``[B,K]``."""
        live: Array = ~(self.ended | np.isneginf(self.logp))
        return live


def take_rows(state: Any, rows: Array) -> Any:
    """Return the rows of a state at the indices ``rows [n]`` along the axis B.

    A state is an array whose second to last axis is B, such as ``[B, F]`` or ``[L*D, B, H]``; a tuple, list or mapping of
    states; or None. Raises TypeError for anything else.
    """
    if state is None:
        return None
    if isinstance(state, np.ndarray) and state.ndim >= 2:
        return state.take(rows, axis=-2)
    if isinstance(state, Mapping):
        return {key: take_rows(value, rows) for key, value in state.items()}
    if isinstance(state, (tuple, list)):
        parts = [take_rows(value, rows) for value in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)  # _fields: a named tuple
    expected = "None, arrays of two axes or more, or tuples, lists and mappings of those"
    raise TypeError(f"state must be {expected} (else give reorder), got {checks.describe(state)}")


def beam_search(
    step: Step,
    state: Any,
    start: Any,
    *,
    eos: int,
    width: int = 5,
    max_length: int = 100,
    length_penalty: float = 0.0,
    reorder: Reorder = take_rows,
) -> list[list[Hypothesis]]:
    """Return the sequences found by each of B searches, best first: ``width`` of them, or fewer if there are no more.

    A token whose logit is -inf is never chosen. Rows that have ended are computed along with the others and their results
    ignored.

    Parameters
    ----------
    step
        The model: a function from int64 ``[N]`` tokens and the state before them to ``logits [N,V]`` and the state after
        them. Log probabilities are valid logits.
    state
        The state of the B searches at their beginning.
    start
        The first token that each search reads, integers ``[B]``.
    eos
        The token that ends a sequence.
    width
        The number of sequences in each beam.
    max_length
        The largest number of tokens, the end included. Sequences that have not ended come last in the result.
    length_penalty
        The exponent a of the score.
    reorder
        A function ``reorder(state, rows)`` that returns the rows of a state.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or logits are NaN or of another shape.
    """
    if not callable(step):
        raise TypeError(f"step must be a function of tokens and a state, got {checks.describe(step)}")
    start = _check_start(start)
    checks.positive_int("eos", eos, 0)
    checks.positive_int("width", width)
    checks.positive_int("max_length", max_length)
    checks.number("length_penalty", length_penalty, 0.0)
    B = len(start)
    beam = _Beam(np.empty((B, 1, 0), np.int64), np.zeros((B, 1)), np.zeros((B, 1), bool), np.zeros((B, 1), np.int64))
    last = start
    for _ in range(max_length):
        result = step(last, state)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"step must return a pair, logits and a state, got {checks.describe(result)}")
        logits, state = result
        beam, parents = _grow(beam, _check_logits(logits, beam, eos), eos, width)
        if not beam.live().any():
            break
        state = reorder(state, parents)
        last = beam.tokens[:, :, -1].reshape(-1)
    return [_ranked(beam, b, length_penalty) for b in range(B)]


def _grow(beam: _Beam, logits: Array, eos: int, width: int) -> tuple[_Beam, Array]:
    """Return the beam with one more token, and the index ``[N]`` of the row that each of its rows extends."""
    B, K = beam.logp.shape
    V = logits.shape[1]
    logp = beam.logp[:, :, None] + log_softmax(logits).reshape(B, K, V)
    # An ended sequence stays in the beam: its only continuation is another end, which costs nothing and ranks first.
    logp[beam.ended] = -np.inf
    logp[beam.ended, eos] = beam.logp[beam.ended]
    key = logp.copy()
    key[beam.ended, eos] = np.inf
    chosen = _largest(key.reshape(B, K * V), width)
    parent, token = np.divmod(chosen, V)

    ended = np.take_along_axis(beam.ended, parent, axis=1)
    before = np.take_along_axis(beam.tokens, parent[:, :, None], axis=1)
    total = np.take_along_axis(logp.reshape(B, K * V), chosen, axis=1)
    grown = _Beam(
        tokens=np.concatenate([before, token[:, :, None]], axis=2),
        logp=total,
        ended=(ended | (token == eos)) & ~np.isneginf(total),  # an empty place must not count as ended
        lengths=np.take_along_axis(beam.lengths, parent, axis=1) + ~ended,
    )
    return grown, (parent + K * np.arange(B)[:, None]).reshape(-1)


def _largest(values: Array, n: int) -> Array:
    """Return the indices int64 ``[B, min(n, M)]`` of the n largest in each row of ``values [B,M]``, in descending order."""
    negative = -values
    if n < values.shape[1]:
        places = np.sort(np.argpartition(negative, n - 1, axis=1)[:, :n], axis=1)  # sorted, so that ties go by index
        order = np.argsort(np.take_along_axis(negative, places, axis=1), axis=1, kind="stable")
        result: Array = np.take_along_axis(places, order, axis=1)
        return result
    places = np.argsort(negative, axis=1, kind="stable")
    return places


def _ranked(beam: _Beam, b: int, length_penalty: float) -> list[Hypothesis]:
    """Return the sequences of search b: first those that have ended, then the others, each by score."""
    found = []
    for tokens, logp, ended, length in zip(beam.tokens[b], beam.logp[b], beam.ended[b], beam.lengths[b], strict=True):
        if np.isneginf(logp):
            continue
        words = tokens[: length - 1] if ended else tokens[:length]
        score = float(logp) / int(length) ** length_penalty
        found.append(Hypothesis(tuple(words.tolist()), float(logp), score, bool(ended)))
    return sorted(found, key=lambda hypothesis: (hypothesis.ended, hypothesis.score), reverse=True)


def _check_start(start: Any) -> Array:
    ids = checks.integers("start", start, "be an integer array of shape [B]")
    if ids.ndim != 1:
        raise TypeError(f"start must be an integer array of shape [B], got {checks.describe(start)}")
    if not ids.size:
        raise ValueError("start must hold at least one token, got none")
    return ids.astype(np.int64)


def _check_logits(logits: Any, beam: _Beam, eos: int) -> Array:
    """Return the logits with zeros in rows that do not continue, whose values may be NaN. Raises TypeError or ValueError."""
    live = beam.live().reshape(-1, 1)
    if not isinstance(logits, np.ndarray) or logits.dtype.kind != "f":
        raise TypeError(f"step must return logits as an array of floats, got {checks.describe(logits)}")
    if logits.ndim != 2 or len(logits) != len(live) or logits.shape[1] <= eos:
        expected = f"[N={len(live)}, V] with V above eos={eos}"
        raise ValueError(f"step must return logits of shape {expected}, got {checks.describe(logits)}")
    logits = np.where(live, logits, 0)
    if not np.isfinite(logits.max(axis=1)).all():
        raise ValueError("step must return logits whose largest in each row is finite, got NaN, inf or a row of -inf")
    checked: Array = logits
    return checked
