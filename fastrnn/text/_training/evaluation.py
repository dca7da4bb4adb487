"""Batches for evaluation: all that is held out, or a fixed sample that is spread over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sampling import NOTHING
from ...training._run.model_task import Batch
from .._reading.token_ids import taken
from .batching import line_evaluation, sorted_by_length, stream_evaluation

Ids = NDArray[Any]


class StreamEvaluation:
    """The end of a stream; ``tokens`` are those held out. A sample is the beginnings of parts that are read side by side."""

    def __init__(self, ids: Ids, batch: int, seq_length: int, start: int = NOTHING) -> None:
        self._ids, self._batch, self._seq_length, self._start = ids, batch, seq_length, start
        self.tokens = len(ids)

    def __call__(self, limit: int | None = None) -> Iterator[Batch]:
        """The batches of all, or those in which at most ``limit`` tokens are read.

        The first chunk of each part is read for the state alone. A small sample has fewer parts, so that half of what is
        read counts.
        """
        if limit is None:
            return stream_evaluation(self._ids, self._batch, self._seq_length, self._start)
        parts = max(1, min(self._batch, limit // (2 * self._seq_length)))
        length = min(self._seq_length, limit)
        return islice(stream_evaluation(self._ids, parts, length, self._start), limit // (parts * length))


class LineEvaluation:
    """Batches of held-out lines, of ``tokens`` in all, ends included. A sample has every n-th line in order of length."""

    def __init__(self, sequences: Sequence[Ids], batch: int, eos: int, longest: int = 1024) -> None:
        self._sequences, self._batch, self._eos, self._longest = sequences, batch, eos, longest
        self._order, lengths = sorted_by_length(sequences, longest)
        self.tokens = int(lengths.sum())

    def __call__(self, limit: int | None = None) -> Iterator[Batch]:
        """The batches of all, or of about ``limit`` tokens."""
        count = len(self._order)
        kept = count if limit is None else max(1, min(count, round(count * limit / self.tokens)))
        places = (np.arange(kept) * count + count // 2) // kept if kept < count else np.arange(count)
        chosen = taken(self._sequences, self._order[places])
        return line_evaluation(chosen, self._batch, self._eos, self._longest)
