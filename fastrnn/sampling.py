"""Sampling from a language model: each token is the next step's input.

The model is a stack of recurrent layers (one direction each) between an optional embedding and a linear layer. All
randomness is an array of uniforms drawn beforehand, so every backend samples the same text from the same seed, except where
logits are rounded differently. Letters: ``T`` steps, ``N`` samples in parallel, ``V`` vocabulary, ``E`` embedding size,
``H`` hidden size, ``Y`` output size of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._core import checks
from ._core.arrays import Array

NOTHING = -1  # means no token; as an input it is the zero vector


@dataclass(frozen=True, slots=True)
class Choice:
    """Rule for the choice of a token from its logits.

    The logits are divided by ``temperature``. Only the ``top_k`` most likely tokens remain (0: all), and of those the fewest
    whose probabilities sum to at least ``top_p`` (1: all). Ties are ranked by id. ``greedy``, or a temperature of 0, takes
    the most likely token. Raises TypeError or ValueError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    greedy: bool = False

    def __post_init__(self) -> None:
        if checks.number("temperature", self.temperature, 0.0) == np.inf:  # no logit of -inf can be divided by it
            raise ValueError("temperature must be finite, got inf")
        checks.positive_int("top_k", self.top_k, 0)
        checks.number("top_p", self.top_p, 0.0, 1.0, open_low=True)
        checks.flag("greedy", self.greedy)
        if self.temperature == 0:
            object.__setattr__(self, "greedy", True)
            object.__setattr__(self, "temperature", 1.0)


PLAIN = Choice()  # from the model's own distribution


@dataclass(frozen=True, slots=True)
class Request:
    """Inputs of a sampling run. Float arrays are C-contiguous and have the layers' dtype.

    ``prime``
        int64 ``[T,N]``, the tokens that are read first (-1: the zero vector).
    ``uniforms``
        float64 ``[length,N]`` in [0, 1); its number of rows is the number of tokens to sample.
    ``h0``, ``c0``
        The initial states ``[L,N,Y]`` and, for LSTM only, ``[L,N,H]``; None is zeros.
    ``embedding``
        ``[V,E]``, or None if the first layer reads ids.
    ``weight``, ``bias``
        The linear layer that computes the logits, ``[V,Y]`` and ``[V]``.
    ``eos``
        The token that ends a sample; -1: none.
    ``choice``
        The rule for the choice of a token.
    """

    prime: Array
    uniforms: Array
    h0: Array | None
    c0: Array | None
    embedding: Array | None
    weight: Array
    bias: Array
    eos: int = NOTHING
    choice: Choice = PLAIN


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a sampling run: the tokens, int64 ``[length,N]``, and the last states, as in a Request.

    After ``eos``, which is included, a sample's tokens are -1. The model has not read the last token yet: to continue, use
    it as ``prime``.
    """

    tokens: Array
    h_n: Array
    c_n: Array | None


def choose(logits: Array, uniforms: Array, choice: Choice) -> Array:
    """Choose a token for each row of ``logits [N,V]`` and return int64 ``[N]``.

    Unless greedy, it is the first id whose cumulative weight, in the order of ids, exceeds ``uniforms [N]`` times the total.
    """
    if choice.greedy:
        likeliest: Array = logits.argmax(axis=1)
        return likeliest
    cumulative = weights(logits, choice).cumsum(axis=1)
    total = cumulative[:, -1:]
    first = (cumulative <= uniforms[:, None] * total).sum(axis=1)
    # u * total may round up to the total, which the last token with a positive weight is the first to reach.
    chosen: Array = np.minimum(first, (cumulative >= total).argmax(axis=1))
    return chosen


def weights(logits: Array, choice: Choice) -> Array:
    """Return unnormalised probabilities, float64 ``[N,V]``, after temperature, top-k and top-p; the largest is 1."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):  # a quotient of -inf, from a temperature near 0, is a probability of 0
        result: Array = np.exp(shifted / choice.temperature)
    V = logits.shape[1]
    k = min(choice.top_k or V, V)
    if k < V or choice.top_p < 1:
        ranked = np.argsort(-shifted, axis=1, kind="stable")  # stable, to rank ties by id
        likely = np.take_along_axis(result, ranked, axis=1)
        likely[:, k:] = 0
        before = likely.cumsum(axis=1) - likely
        likely[before >= choice.top_p * likely.sum(axis=1, keepdims=True)] = 0
        np.put_along_axis(result, ranked, likely, axis=1)
    return result


def log_softmax(logits: Array) -> Array:
    """Return log probabilities over the last axis of ``logits [..., V]``, in float64; -inf for a logit of -inf."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
