"""Batches of token ids for training and for evaluation, in the two readings.

The input at a step is the token before the target. The first input is -1, the zero vector, or ``<EOS>`` in a stream of
sentences; sampling begins the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core import checks
from ..._core.memory import empty
from ...losses import IGNORED as IGNORED
from ...sampling import NOTHING
from ...training._run.model_task import Batch, Batches
from .._reading.token_ids import lengths_of

Ids = NDArray[Any]


class LineBatches(Batches):
    """Endless batches of whole items, in a new order each epoch.

    ``sequences`` are arrays of ids ``[n]`` without the end, and ``eos`` is the id that ends them. A sequence longer than
    ``longest`` steps is cut there and has no end. The batch size is at most the number of items.
    """

    def __init__(self, sequences: Sequence[Ids], batch: int, eos: int, *, seed: int = 0, longest: int = 1024) -> None:
        if not len(sequences):
            raise ValueError("sequences must hold at least one item, got none")
        self.examples = len(sequences), "items"
        self.batch = min(checks.positive_int("batch", batch), len(sequences))
        super().__init__(seed)  # the position counts items
        self._sequences, self._eos, self._longest = sequences, eos, longest

    @property
    def epoch(self) -> float:
        """The number of passes over the items so far."""
        return self._position / len(self._sequences)

    def next(self) -> Batch:
        """Return the next batch; the last batch of an epoch is filled from the next epoch."""
        chosen = [self._item(self._position + i) for i in range(self.batch)]
        self._position += self.batch
        return pad(chosen)

    def _item(self, position: int) -> Ids:
        epoch, place = divmod(position, len(self._sequences))
        item = int(self._shuffled(epoch, len(self._sequences))[place])
        return _ended(self._sequences[item], self._eos)[: self._longest]


def _ended(sequence: Ids, eos: int) -> Ids:
    return np.append(sequence, sequence.dtype.type(eos))


def pad(sequences: Sequence[Ids]) -> Batch:
    """Return one batch of whole sequences, which include their ends; T is the length of the longest."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    T, B = int(lengths.max()), len(sequences)
    targets = empty((T, B), np.int64)
    targets.fill(IGNORED)
    inputs = empty((T, B), np.int64)
    inputs.fill(NOTHING)
    for b, sequence in enumerate(sequences):
        targets[: len(sequence), b] = sequence
        inputs[1 : len(sequence), b] = sequence[:-1]
    return Batch(inputs, targets, lengths, int(lengths.sum()), True)


def line_evaluation(sequences: Sequence[Ids], batch: int, eos: int, longest: int = 1024) -> Iterator[Batch]:
    """Yield batches that hold every item once, grouped by similar length."""
    order, _ = sorted_by_length(sequences, longest)
    for start in range(0, len(order), batch):
        yield pad([_ended(sequences[int(i)], eos)[:longest] for i in order[start : start + batch]])


def sorted_by_length(sequences: Sequence[Ids], longest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices that sort sequences by length, and the lengths, ends included and at most ``longest``."""
    lengths = np.minimum(lengths_of(sequences) + 1, longest)
    return np.argsort(lengths, kind="stable"), lengths


class StreamBatches(Batches):
    """Endless batches for truncated backpropagation through time: B parallel streams through one text.

    The text is cut into B equal parts, which are read in parallel in chunks of T tokens. A chunk continues where the
    previous one ended, and the caller carries the state over unless ``Batch.first``. Tokens that do not fill a chunk are
    left out, at a different place in each epoch. For a short text T and B are smaller than requested, so that there is at
    least one chunk. ``start`` is the first input.
    """

    def __init__(self, ids: Ids, batch: int, seq_length: int, *, seed: int = 0, start: int = NOTHING) -> None:
        if len(ids) < 2:
            raise ValueError(f"ids must hold at least two tokens, got {len(ids)}")
        self.seq_length = min(checks.positive_int("seq_length", seq_length), len(ids))
        self.examples = len(ids) // self.seq_length, f"parts of {self.seq_length} tokens (seq_length)"
        self.batch = min(checks.positive_int("batch", batch), self.examples[0])
        super().__init__(seed)  # the position counts chunks
        self._ids, self._start = ids, start
        self.chunks = len(ids) // (self.batch * self.seq_length)

    @property
    def epoch(self) -> float:
        """The number of passes over the text so far."""
        return self._position / self.chunks

    def next(self) -> Batch:
        """Return the next chunk of all streams."""
        epoch, chunk = divmod(self._position, self.chunks)
        self._position += 1
        part = self.chunks * self.seq_length
        spare = len(self._ids) - part * self.batch
        offset = int(np.random.default_rng([self._seed, epoch]).integers(spare + 1))
        used = self._ids[offset : offset + part * self.batch].reshape(self.batch, part)
        return stream_batch(used, chunk * self.seq_length, self.seq_length, self._start)


def stream_batch(streams: Ids, begin: int, length: int, start: int = NOTHING) -> Batch:
    """Return the batch of steps ``begin`` to ``begin + length`` of ``streams [B, N]``, fewer at the end.

    Tokens that are IGNORED are not counted.
    """
    rows = streams[:, begin : begin + length].T
    targets = empty(rows.shape, np.int64)
    targets[...] = rows
    inputs = empty(rows.shape, np.int64)
    inputs[1:] = rows[:-1]
    inputs[0] = start if begin == 0 else streams[:, begin - 1]
    np.maximum(inputs, NOTHING, out=inputs)
    return Batch(inputs, targets, None, int(np.count_nonzero(targets != IGNORED)), begin == 0)


def stream_evaluation(ids: Ids, batch: int, seq_length: int, start: int = NOTHING) -> Iterator[Batch]:
    """Yield batches of up to ``batch`` parallel parts of a text, in which each token counts once.

    Each part after the first begins ``seq_length`` tokens early and ignores these in the loss. The loss then equals that of
    reading the text from beginning to end, except for what a model remembers from further back.
    """
    batch = max(1, min(batch, len(ids) // (2 * seq_length)))
    context = seq_length if batch > 1 else 0
    part = -(-(len(ids) - context) // batch)
    for begin in range(0, context + part, seq_length):
        before = min(begin, 1)  # one step earlier, because the first input is the token before the first target
        window = _side_by_side(ids, batch, part, begin - before, min(begin + seq_length, context + part))
        chunk = replace(stream_batch(window, before, seq_length, start), first=begin == 0)
        yield _counting_first_only(chunk) if begin < context else chunk


def _side_by_side(ids: Ids, batch: int, part: int, begin: int, end: int) -> Ids:
    """Return steps ``begin`` to ``end`` of parts of ``part`` tokens, int64 ``[B,T]``, IGNORED after the end of ``ids``."""
    window = np.full((batch, end - begin), IGNORED, np.int64)
    for b, row in enumerate(window):
        found = ids[b * part + begin : b * part + end]
        row[: len(found)] = found
    return window


def _counting_first_only(batch: Batch) -> Batch:
    batch.targets[:, 1:] = IGNORED
    return replace(batch, tokens=int(np.count_nonzero(batch.targets != IGNORED)))
