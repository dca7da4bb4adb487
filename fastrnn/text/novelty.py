"""How much of what was sampled is in the training text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .vocabulary import code_points

Hashes = NDArray[np.uint64]
Ids = NDArray[Any]

NGRAM = {"character": 20, "word": 5}  # that only a text that was copied has in common, by the unit


def line_hashes(lines: Iterable[str]) -> Hashes:
    """A 64-bit hash of each distinct line, sorted: enough to tell whether a line was there, without the lines."""
    digests = b"".join(hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest() for line in lines)
    return np.unique(np.frombuffer(digests, "<u8").astype(np.uint64))


def known_lines(lines: list[str], known: Hashes) -> list[bool]:
    """Which of the lines are among those hashed by :func:`line_hashes`."""
    return [bool(np.isin(line_hashes([line]), known)[0]) for line in lines]


def copied_share(text: str | Ids, training: str | Ids, n: int) -> float | None:
    """The share of a text's n-grams that occur in the training text; None if it is shorter than n.

    Of characters, or of tokens whose ids ``[n]`` are given.
    """
    if len(text) < n:
        return None
    return float(np.isin(_ngrams(text, n), _ngrams(training, n)).mean())


def _ngrams(text: str | Ids, n: int) -> NDArray[Any]:
    """A hash of every n-gram: a polynomial in an odd number, modulo 2^64."""
    points = (code_points(text) if isinstance(text, str) else text).astype(np.uint64)
    count = max(0, len(points) - n + 1)
    hashes = np.zeros(count, np.uint64)
    for i in range(n):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + points[i : i + count] + np.uint64(1)
    return hashes
