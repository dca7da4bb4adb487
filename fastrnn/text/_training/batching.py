"""Batches of token ids for training and for evaluation, in the two readings.

In both, the input at a step is the token before the target, and the first input is -1, the zero vector (or, in a stream of
sentences, the end of the one before): a model learns to begin so, and sampling begins the same way. Everything a source of
batches will ever give follows from its seed and one counter, so its state is that counter.
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
from ...training._run.model_task import Batch
from .._reading.token_ids import lengths_of

Ids = NDArray[Any]


class LineBatches:
    """Endless batches of items, each a sequence from a zero state to the end of the sequence, in a new order each
    epoch.

    ``sequences`` are arrays of ids ``[n]`` without the end, ``eos`` is the id that ends them. A sequence longer than
    ``longest`` steps is cut there and has no end. A batch never holds an item twice: it is at most as large as the
    list.
    """

    def __init__(self, sequences: Sequence[Ids], batch: int, eos: int, *, seed: int = 0, longest: int = 1024) -> None:
        if not len(sequences):
            raise ValueError("sequences must hold at least one item, got none")
        self.batch = min(checks.positive_int("batch", batch), len(sequences))
        self._sequences, self._eos, self._longest = sequences, eos, longest
        self._seed = seed
        self._position = 0  # items given so far
        self._order = (-1, np.empty(0, np.int64))  # the epoch that is shuffled, and how

    @property
    def epoch(self) -> float:
        """How often the items have been gone through."""
        return self._position / len(self._sequences)

    def next(self) -> Batch:
        """The next batch; the rest of an epoch is filled up from the one after it."""
        chosen = [self._item(self._position + i) for i in range(self.batch)]
        self._position += self.batch
        return pad(chosen)

    def _item(self, position: int) -> Ids:
        epoch, place = divmod(position, len(self._sequences))
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = (epoch, rng.permutation(len(self._sequences)))
        return _ended(self._sequences[int(self._order[1][place])], self._eos)[: self._longest]

    def state_dict(self) -> dict[str, int]:
        """The position, for JSON."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from :meth:`state_dict`'s position."""
        self._position = checks.positive_int("position", state["position"], 0)


def _ended(sequence: Ids, eos: int) -> Ids:
    return np.append(sequence, sequence.dtype.type(eos))


def pad(sequences: Sequence[Ids]) -> Batch:
    """One batch of whole sequences, each with its end in it; T is the longest's length."""
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
    """Every item once, those of similar length together."""
    order, _ = sorted_by_length(sequences, longest)
    for start in range(0, len(order), batch):
        yield pad([_ended(sequences[int(i)], eos)[:longest] for i in order[start : start + batch]])


def sorted_by_length(sequences: Sequence[Ids], longest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of sequences in order of their lengths, ends included and at most ``longest``, and these lengths."""
    lengths = np.minimum(lengths_of(sequences) + 1, longest)
    return np.argsort(lengths, kind="stable"), lengths


class StreamBatches:
    """Endless batches for truncated backpropagation through time: B parallel streams through one text.

    The text is cut into B equal parts, read side by side in chunks of T tokens; a chunk goes on where the last one
    ended, and the caller carries the state over unless ``Batch.first``. What does not fill a chunk is left out, at a
    different place in each epoch. For a short text T and B are smaller than asked, so that there is at least one
    chunk. ``start`` is the first input.
    """

    def __init__(self, ids: Ids, batch: int, seq_length: int, *, seed: int = 0, start: int = NOTHING) -> None:
        if len(ids) < 2:
            raise ValueError(f"ids must hold at least two tokens, got {len(ids)}")
        self.seq_length = min(checks.positive_int("seq_length", seq_length), len(ids))
        self.batch = min(checks.positive_int("batch", batch), len(ids) // self.seq_length)
        self._ids = ids
        self._seed = seed
        self._start = start
        self._position = 0  # chunks given so far
        self.chunks = len(ids) // (self.batch * self.seq_length)

    @property
    def epoch(self) -> float:
        """How often the text has been gone through."""
        return self._position / self.chunks

    def next(self) -> Batch:
        """The next chunk of all streams."""
        epoch, chunk = divmod(self._position, self.chunks)
        self._position += 1
        part = self.chunks * self.seq_length
        spare = len(self._ids) - part * self.batch
        offset = int(np.random.default_rng([self._seed, epoch]).integers(spare + 1))
        used = self._ids[offset : offset + part * self.batch].reshape(self.batch, part)
        return stream_batch(used, chunk * self.seq_length, self.seq_length, self._start)

    def state_dict(self) -> dict[str, int]:
        """The position, for JSON."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from :meth:`state_dict`'s position."""
        self._position = checks.positive_int("position", state["position"], 0)


def stream_batch(streams: Ids, begin: int, length: int, start: int = NOTHING) -> Batch:
    """Steps ``begin`` to ``begin + length`` of ``streams [B, N]``, fewer at the end; IGNORED in it is not counted."""
    rows = streams[:, begin : begin + length].T
    targets = empty(rows.shape, np.int64)
    targets[...] = rows
    inputs = empty(rows.shape, np.int64)
    inputs[1:] = rows[:-1]
    inputs[0] = start if begin == 0 else streams[:, begin - 1]
    np.maximum(inputs, NOTHING, out=inputs)
    return Batch(inputs, targets, None, int(np.count_nonzero(targets != IGNORED)), begin == 0)


def stream_evaluation(ids: Ids, batch: int, seq_length: int, start: int = NOTHING) -> Iterator[Batch]:
    """A whole text once, each token counted once, in up to ``batch`` parts side by side.

    Each part but the first begins ``seq_length`` tokens early and does not count those, so that the loss is that of
    reading the text from its beginning to its end, but for what a model remembers from further back.
    """
    batch = max(1, min(batch, len(ids) // (2 * seq_length)))
    context = seq_length if batch > 1 else 0
    part = -(-(len(ids) - context) // batch)
    for begin in range(0, context + part, seq_length):
        before = min(begin, 1)  # a step earlier, for the first input
        window = _side_by_side(ids, batch, part, begin - before, min(begin + seq_length, context + part))
        chunk = replace(stream_batch(window, before, seq_length, start), first=begin == 0)
        yield _counting_first_only(chunk) if begin < context else chunk


def _side_by_side(ids: Ids, batch: int, part: int, begin: int, end: int) -> Ids:
    """Steps ``begin`` to ``end`` of parts of ``part`` tokens, int64 ``[B,T]``, with IGNORED after the end of ``ids``."""
    window = np.full((batch, end - begin), IGNORED, np.int64)
    for b, row in enumerate(window):
        found = ids[b * part + begin : b * part + end]
        row[: len(found)] = found
    return window


def _counting_first_only(batch: Batch) -> Batch:
    batch.targets[:, 1:] = IGNORED
    return replace(batch, tokens=int(np.count_nonzero(batch.targets != IGNORED)))
