"""Batches for evaluation: all held-out tokens, or a fixed sample spread over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sampling import NOTHING
from ...training._run.model_task import Batch
from .._reading.token_ids import select
from .batching import line_evaluation, sorted_by_length, stream_evaluation

Ids = NDArray[Any]


class StreamEvaluation:
    """Batches of the held-out end of a stream, ``tokens`` long. A sample reads only the beginnings of parallel parts."""

    def __init__(self, ids: Ids, batch: int, seq_length: int, start: int = NOTHING) -> None:
        self._ids, self._batch, self._seq_length, self._start = ids, batch, seq_length, start
        self.tokens = len(ids)

    def __call__(self, limit: int | None = None) -> Iterator[Batch]:
        """Return all batches, or a sample that reads at most ``limit`` tokens.

        The first chunk of each part after the first serves only to reach its state. A small sample has fewer parts, so that
        half of the tokens read count.
        """
        if limit is None:
            return stream_evaluation(self._ids, self._batch, self._seq_length, self._start)
        parts = max(1, min(self._batch, limit // (2 * self._seq_length)))
        length = min(self._seq_length, limit)
        return islice(stream_evaluation(self._ids, parts, length, self._start), limit // (parts * length))


class LineEvaluation:
    """Batches of held-out lines with ``tokens`` tokens, ends included. A sample has every n-th line in order of length."""

    def __init__(self, sequences: Sequence[Ids], batch: int, eos: int, longest: int = 1024) -> None:
        self._sequences, self._batch, self._eos, self._longest = sequences, batch, eos, longest
        self._order, lengths = sorted_by_length(sequences, longest)
        self.tokens = int(lengths.sum())

    def __call__(self, limit: int | None = None) -> Iterator[Batch]:
        """Return all batches, or a sample of about ``limit`` tokens."""
        count = len(self._order)
        size = count if limit is None else max(1, min(count, round(count * limit / self.tokens)))
        places = (np.arange(size) * count + count // 2) // size if size < count else np.arange(count)
        chosen = select(self._sequences, self._order[places])
        return line_evaluation(chosen, self._batch, self._eos, self._longest)
