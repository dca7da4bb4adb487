"""From songs and options to a training run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...graph import Model
from ...losses import IGNORED, softmax_cross_entropy
from ...training import Trainer
from ...training._run.model_size import TRAINING_COPIES, check_batch, check_model
from ...training._run.model_task import Batch, Batches, SequenceTask
from ...training._run.options import trainer_of
from ...training.baselines import baselines_of_pairs
from .._midi.songs import cut
from ..jazz_model import jazz_model, parameter_count
from ..vocabulary import PartVocabulary
from .batching import Line, SongBatches, evaluation, lines, vocabulary_for
from .key_counts import pairs_in_keys
from .options import JazzOptions
from .song import Song

EVALUATED = 16  # songs at a time
CHUNK = 512  # tokens of each of them: memory does not grow with the length of songs


class SongEvaluation:
    """Songs held out, each from its beginning to its end; ``tokens`` are theirs, ends included.

    A sample has whole songs, always the same: one at least.
    """

    def __init__(self, songs: Sequence[Line], vocabulary: PartVocabulary) -> None:
        self._songs, self._vocabulary = songs, vocabulary
        self.tokens = _tokens(songs)

    def __call__(self, limit: int | None = None) -> Iterator[Batch]:
        """Return the batches of all, or of songs that have at most ``limit`` tokens together."""
        songs = self._songs if limit is None else _some(self._songs, limit)
        for batch in evaluation(songs, self._vocabulary, EVALUATED):
            for start in range(0, len(batch.targets), CHUNK):
                inputs = tuple(array[start : start + CHUNK] for array in batch.inputs)
                targets = batch.targets[start : start + CHUNK]
                # Without lengths: what follows the end of a song comes too late to change what counts.
                yield Batch(inputs, targets, None, int(np.count_nonzero(targets != IGNORED)), start == 0)


def jazz_task(model: Model, batches: Batches, evaluation: SongEvaluation, rng: np.random.Generator) -> SequenceTask:
    """Return the task of a model of songs; ``rng`` is what its dropout draws from."""

    def learn(batch: Batch, _: Any) -> tuple[float, None]:
        logits, backward = model.forward(*batch.inputs, lengths=batch.lengths)
        loss, dlogits = softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED)
        backward(dlogits, need_dx=False)
        return loss, None

    def read(batch: Batch, state: Any) -> tuple[Any, Any]:
        return model.stream(*batch.inputs, state=state)

    return SequenceTask(model, batches, evaluation, rng, learn, read)


def _some(songs: Sequence[Line], tokens: int) -> list[Line]:
    """Choose songs at random, always the same ones, which have at most so many tokens together, but one at least."""
    chosen: list[int] = []
    total = 0
    for i in np.random.default_rng(0).permutation(len(songs)).tolist():
        length = _tokens([songs[i]])
        if not chosen or total + length <= tokens:
            chosen.append(i)
            total += length
    return [songs[i] for i in sorted(chosen)]


def _tokens(songs: Iterable[Line]) -> int:
    """The number of tokens of songs with their ends."""
    return sum(len(song.ids) + 1 for song in songs)


@dataclass(frozen=True)
class Split:
    """The songs that are trained on, and those held out."""

    train: tuple[Song, ...]
    held_out: tuple[Song, ...]


def split(songs: Sequence[Song], fraction: float, seed: int) -> Split:
    """A random choice of songs is held out, at least one; of a single song its end. The same for the same seed.

    Raises ValueError for a single song of fewer than two bars, or without notes in one of its parts.
    """
    if len(songs) > 1:
        order = np.random.default_rng([seed, 1]).permutation(len(songs)).tolist()
        held = min(max(1, round(fraction * len(songs))), len(songs) - 1)
        kept = sorted(order[held:])
        return Split(tuple(songs[i] for i in kept), tuple(songs[i] for i in sorted(order[:held])))
    song = songs[0]
    bars = song.piece.bars()
    place = len(bars) - max(1, round(fraction * len(bars)))
    if place < 1:
        raise ValueError(f"{song.title} has too few bars ({len(bars)}) to hold out its end and train on the rest")
    start = int(bars[place])
    parts = Split((cut(song, 0, start),), (cut(song, start, song.piece.length),))
    if not all(part.part.notes for part in (*parts.train, *parts.held_out)):
        raise ValueError(f"{song.title} has too few notes to hold out its end and train on the rest")
    return parts


@dataclass(frozen=True)
class Data:
    """Songs made ready. ``baselines`` are held-out losses of models that count, in nats per token."""

    vocabulary: PartVocabulary
    train: list[Line]
    held_out: list[Line]
    baselines: dict[str, float]

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of tokens in both."""
        return _tokens(self.train), _tokens(self.held_out)


def prepare(songs: Split, options: JazzOptions, polyphonic: bool) -> Data:
    """Tokens of both parts, and what counting reaches: on the songs in all the keys that the model learns them in."""
    vocabulary = vocabulary_for([*songs.train, *songs.held_out], polyphonic, options.transpose)
    train = lines(songs.train, vocabulary, transpose=options.transpose)
    held_out = lines(songs.held_out, vocabulary)
    asked = [np.append(line.ids, vocabulary.end) for line in held_out]
    losses = baselines_of_pairs(*pairs_in_keys(train, vocabulary), asked, len(vocabulary))
    return Data(vocabulary, train, held_out, losses)


def make_model(
    options: JazzOptions,
    vocabulary: PartVocabulary,
    *,
    rng: np.random.Generator | None = None,
    backend: str | None = None,
    copies: int = 1,
) -> Model:
    """The model that the options describe, with fresh weights.

    Raises MemoryError when as many ``copies`` of the weights as will be held are more than the machine's memory.
    """
    check_model(options, parameter_count(options, vocabulary), copies)
    return jazz_model(
        vocabulary,
        model=options.model,
        layers=options.layers,
        hidden=options.hidden,
        embedding=options.embedding,
        dropout=options.dropout,
        rng=rng,
        backend=backend,
    )


def make_trainer(
    songs: Split,
    options: JazzOptions,
    polyphonic: bool,
    out: Path | None = None,
    *,
    backend: str | None = None,
    overwrite: bool = False,
) -> tuple[Trainer, Model, Data]:
    """A trainer ready to run, the model that it will train, and its data. Every random number follows from the seed.

    Raises ValueError for songs of which one has notes that sound together where they are not ``polyphonic``, or none has a
    note, and MemoryError for a model or a batch that is larger than the memory.
    """
    init_rng, dropout_rng, data_rng = np.random.default_rng(options.seed).spawn(3)
    data = prepare(songs, options, polyphonic)
    model = make_model(options, data.vocabulary, rng=init_rng, backend=backend, copies=TRAINING_COPIES)
    # At least the logits, their gradients, and what every layer gives.
    check_batch(options, 2 * len(data.vocabulary) + options.layers * options.hidden)
    seed = int(data_rng.integers(2**32))
    batches = SongBatches(data.train, data.vocabulary, options.batch, options.seq_length, seed=seed)
    task = jazz_task(model, batches, SongEvaluation(data.held_out, data.vocabulary), dropout_rng)
    return trainer_of(task, options, out, overwrite), model, data
