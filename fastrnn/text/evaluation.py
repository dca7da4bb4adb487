"""Batches for evaluation: all that is held out, or a fixed sample that is spread over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sampling import NOTHING
from .batching import Batch, line_evaluation, sorted_by_length, stream_evaluation
from .ids import taken

Ids = NDArray[Any]


class StreamEvaluation:
    """Batches of the held-out end of a stream, of ``tokens`` in all. A sample is the beginning of each row of the batch."""

    def __init__(self, ids: Ids, batch: int, seq_length: int, start: int = NOTHING) -> None:
        self._ids, self._batch, self._seq_length, self._start = ids, batch, seq_length, start
        self.tokens = len(ids)

    def __call__(self, limit: int | None = None) -> Iterator[Batch]:
        """The batches of all, or of about ``limit`` tokens."""
        counted = 0
        for batch in stream_evaluation(self._ids, self._batch, self._seq_length, self._start):
            yield batch
            counted += batch.tokens
            if limit is not None and counted >= limit:
                return


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
