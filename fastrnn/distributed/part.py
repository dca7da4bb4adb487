"""The division of a batch among ranks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._core.arrays import Array
from .communicator import Communicator


class Part(NamedTuple):
    """Part of a batch that one rank computes.

    ``columns`` are the indices ``[n]`` of its examples, in ascending order. If a batch is smaller than the number of ranks,
    some of them have no example. They compute the first one, which then does not count, because all ranks run the same code.
    """

    columns: Array
    counts: bool


def part_of(B: int, communicator: Communicator, lengths: Array | None = None) -> Part:
    """Return this rank's part of a batch of B examples.

    Sequences with ``lengths [B]`` are dealt by length, so that ranks finish together. Without lengths, as in a stream, each
    rank gets neighbouring examples, the same ones for each batch of B.
    """
    rank, size = communicator.rank, communicator.size
    if size > B and rank >= B:
        return Part(np.zeros(1, np.int64), False)
    if lengths is None:
        return Part(np.arange(B * rank // size, B * (rank + 1) // size), True) if size <= B else Part(np.array([rank]), True)
    order = np.argsort(-lengths, kind="stable")
    turn, place = np.divmod(np.arange(B), size)
    owner = np.where(turn % 2, size - 1 - place, place)  # back and forth, so that no rank always gets the longer one
    return Part(np.sort(order[owner == rank]), True)
