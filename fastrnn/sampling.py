"""Sampling from a language model: token after token, each the next step's input.

The model is a stack of recurrent layers (one direction each) between an optional embedding and a linear layer. All
randomness is an array of uniforms drawn beforehand, so every backend samples the same text from the same seed, but for
the rounding of the logits. Letters: ``T`` steps, ``N`` samples side by side, ``V`` vocabulary, ``E`` embedding size,
``H`` hidden size, ``Y`` output size of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import checks

Array = NDArray[Any]

NOTHING = -1  # the id of the zero vector, and of no token


@dataclass(frozen=True, slots=True)
class Choice:
    """How a token is chosen from its logits.

    The logits are divided by ``temperature``; then only the ``top_k`` most likely tokens are kept (0: all), and of
    those the fewest whose probabilities sum to ``top_p`` or more (1: all); equals are ranked by id. ``greedy`` takes
    the most likely token, as does a temperature of 0. Raises TypeError or ValueError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    greedy: bool = False

    def __post_init__(self) -> None:
        checks.number("temperature", self.temperature, 0.0)
        checks.positive_int("top_k", self.top_k, 0)
        checks.number("top_p", self.top_p, 0.0, 1.0, open_low=True)
        if self.temperature == 0:
            object.__setattr__(self, "greedy", True)
            object.__setattr__(self, "temperature", 1.0)


PLAIN = Choice()  # from the model's own distribution


@dataclass(frozen=True, slots=True)
class Request:
    """What to sample.

    ``prime`` int64 ``[T,N]`` is read first (-1: the zero vector), from the states ``h0 [L,N,Y]`` and ``c0 [L,N,H]`` (LSTM
    only; None is zeros). Then as many tokens are sampled as ``uniforms`` float64 ``[length,N]``, in [0, 1), has rows;
    a sample ends with ``eos`` (-1: never). ``embedding [V,E]`` is None when the first layer reads ids. ``weight
    [V,Y]`` and ``bias [V]`` give the logits. Float arrays are C-contiguous and of the layers' dtype.
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
    """``tokens`` int64 ``[length,N]``: what was sampled, ``eos`` included, then -1; and the last states, as in a Request.

    The last token has not been read yet: to go on, use it as ``prime``.
    """

    tokens: Array
    h_n: Array
    c_n: Array | None


def choose(logits: Array, uniforms: Array, choice: Choice) -> Array:
    """One token for each row of ``logits [N,V]``: int64 ``[N]``.

    The first id whose cumulative weight, in the order of ids, exceeds ``uniforms [N]`` times the total.
    """
    if choice.greedy:
        likeliest: Array = logits.argmax(axis=1)
        return likeliest
    cumulative = weights(logits, choice).cumsum(axis=1)
    total = cumulative[:, -1:]
    first = (cumulative <= uniforms[:, None] * total).sum(axis=1)
    # u * total may round up to the total; the last token that has any weight is the first to reach it.
    chosen: Array = np.minimum(first, (cumulative >= total).argmax(axis=1))
    return chosen


def weights(logits: Array, choice: Choice) -> Array:
    """Unnormalised probabilities float64 ``[N,V]`` after temperature, top-k and top-p; the largest is 1."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    result: Array = np.exp(shifted / choice.temperature)
    V = logits.shape[1]
    k = min(choice.top_k or V, V)
    if k < V or choice.top_p < 1:
        ranked = np.argsort(-shifted, axis=1, kind="stable")  # stable: equals by id
        kept = np.take_along_axis(result, ranked, axis=1)
        kept[:, k:] = 0
        before = kept.cumsum(axis=1) - kept
        kept[before >= choice.top_p * kept.sum(axis=1, keepdims=True)] = 0
        np.put_along_axis(result, ranked, kept, axis=1)
    return result


def log_softmax(logits: Array) -> Array:
    """float64 of the shape of ``logits [..., V]``: log probabilities over the last axis, -inf where a logit is -inf."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
