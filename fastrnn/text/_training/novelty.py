"""Novelty of samples: the share of their n-grams, or lines, that the training text contains."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._reading.source import BLOCK
from ..vocabulary import code_points

Hashes = NDArray[np.uint64]
Ids = NDArray[Any]

NGRAM = {"character": 20, "word": 5}  # lengths by unit; texts share n-grams this long only by copying


def line_hashes(lines: Iterable[str]) -> Hashes:
    """Return a sorted 64-bit hash of each distinct line, by which a line can be recognised without storing the lines."""
    digests = b"".join(hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest() for line in lines)
    return np.unique(np.frombuffer(digests, "<u8").astype(np.uint64))


def known_lines(lines: list[str], known: Hashes) -> list[bool]:
    """Return for each line whether its hash is among those of :func:`line_hashes`."""
    return [bool(np.isin(line_hashes([line]), known)[0]) for line in lines]


def copied_share(texts: Sequence[str | Ids], training: str | Ids | Iterable[str], n: int, prefix: int = 0) -> float | None:
    """Return the share of n-grams of samples that occur in the training text; None if all samples are shorter than n.

    Texts are strings of characters, or ids ``[n]`` of tokens. The training text may come in pieces. The n-grams within the
    first ``prefix`` tokens of each sample do not count, because no model sampled them.
    """
    wanted = np.concatenate([_ngrams(text, n)[max(0, prefix - n + 1) :] for text in texts])
    if not len(wanted):
        return None
    distinct = np.unique(wanted)
    found = np.zeros(len(distinct), np.bool_)
    for block in _overlapping(training, n):
        hashes = _ngrams(block, n)
        places = np.minimum(np.searchsorted(distinct, hashes), len(distinct) - 1)
        found[places[distinct[places] == hashes]] = True
    return float(np.isin(wanted, distinct[found]).mean())


def _overlapping(training: str | Ids | Iterable[str], n: int) -> Iterator[str | Ids]:
    """Yield the training text in blocks that overlap by n - 1 tokens, so that no n-gram is cut."""
    if isinstance(training, (str, np.ndarray)):
        for start in range(0, len(training), BLOCK):
            yield training[max(0, start - n + 1) : start + BLOCK]
        return
    end = ""
    for block in training:
        whole = end + block
        yield whole
        end = whole[max(0, len(whole) - n + 1) :]


def _ngrams(text: str | Ids, n: int) -> NDArray[Any]:
    """Return a hash of every n-gram: a polynomial in an odd number, modulo 2^64."""
    points = (code_points(text) if isinstance(text, str) else text).astype(np.uint64)
    count = max(0, len(points) - n + 1)
    hashes = np.zeros(count, np.uint64)
    for i in range(n):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + points[i : i + count] + np.uint64(1)
    return hashes
