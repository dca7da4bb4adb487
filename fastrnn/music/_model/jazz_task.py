"""A training run made from songs and options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...distributed.communicator import SOLO, Communicator
from ...graph import Model
from ...losses import IGNORED, softmax_cross_entropy
from ...training import Trainer
from ...training._run.model_size import TRAINING_COPIES, check_batch, check_model
from ...training._run.model_task import Batch, Batches, SequenceTask
from ...training._run.options import trainer_of
from ...training.baselines import baselines_of_pairs
from .._midi.songs import cut
from ..jazz_model import jazz_model, parameter_count, taken
from ..vocabulary import PartVocabulary
from .batching import Line, SongBatches, evaluation, lines, vocabulary_for
from .key_counts import pairs_in_keys
from .options import JazzOptions
from .song import Song

EVALUATED = 16  # songs in a batch for evaluation
CHUNK = 512  # tokens of a song at a time, so that memory does not grow with its length


class SongEvaluation:
    """Held-out songs, each read from beginning to end; ``tokens`` counts their tokens, including the end of each song."""

    def __init__(self, songs: Sequence[Line], vocabulary: PartVocabulary) -> None:
        self._songs, self._vocabulary = songs, vocabulary
        self.tokens = _tokens(songs)

    def __call__(self, limit: int | None = None) -> Iterator[Batch]:
        """Yield the batches of all songs, or of a fixed choice with at most ``limit`` tokens (one song at least)."""
        songs = self._songs if limit is None else _some(self._songs, limit)
        for batch in evaluation(songs, self._vocabulary, EVALUATED):
            for start in range(0, len(batch.targets), CHUNK):
                inputs = tuple(array[start : start + CHUNK] for array in batch.inputs)
                targets = batch.targets[start : start + CHUNK]
                # Lengths are not needed: steps after the end of a song do not change those before.
                yield Batch(inputs, targets, None, int(np.count_nonzero(targets != IGNORED)), start == 0)


def jazz_task(model: Model, batches: Batches, evaluation: SongEvaluation, rng: np.random.Generator) -> SequenceTask:
    """Return the training task of a model of songs; its dropout draws from ``rng``."""

    def learn(batch: Batch, _: Any) -> tuple[float, None]:
        logits, backward = model.forward(*taken(model, batch.inputs), lengths=batch.lengths)
        loss, dlogits = softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED)
        backward(dlogits, need_dx=False)
        return loss, None

    def read(batch: Batch, state: Any) -> tuple[Any, Any]:
        return model.stream(*taken(model, batch.inputs), state=state)

    return SequenceTask(model, batches, evaluation, rng, learn, read)


def _some(songs: Sequence[Line], tokens: int) -> list[Line]:
    """Choose songs at random, always the same ones, with at most ``tokens`` tokens in all, but at least one song."""
    chosen: list[int] = []
    total = 0
    for i in np.random.default_rng(0).permutation(len(songs)).tolist():
        length = _tokens([songs[i]])
        if not chosen or total + length <= tokens:
            chosen.append(i)
            total += length
    return [songs[i] for i in sorted(chosen)]


def _tokens(songs: Iterable[Line]) -> int:
    """Count the tokens of songs, ends included."""
    return sum(len(song.ids) + 1 for song in songs)


@dataclass(frozen=True)
class Split:
    """The songs to train on, and the held-out songs."""

    train: tuple[Song, ...]
    held_out: tuple[Song, ...]


def split(songs: Sequence[Song], fraction: float, seed: int) -> Split:
    """Hold out a random ``fraction`` of the songs, at least one; of a single song, its end.

    The same seed gives the same split. Raises ValueError for a single song that is too short to cut, or that would have no
    notes before or after the cut.
    """
    if len(songs) > 1:
        order = np.random.default_rng([seed, 1]).permutation(len(songs)).tolist()
        held = min(max(1, round(fraction * len(songs))), len(songs) - 1)
        return Split(tuple(songs[i] for i in sorted(order[held:])), tuple(songs[i] for i in sorted(order[:held])))
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
    """Songs as lines. ``baselines`` are the held-out losses of counting models, in nats per token."""

    vocabulary: PartVocabulary
    train: list[Line]
    held_out: list[Line]
    baselines: dict[str, float]

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of tokens to train on and held out."""
        return _tokens(self.train), _tokens(self.held_out)


def prepare(songs: Split, options: JazzOptions, polyphonic: bool) -> Data:
    """Encode both parts of the split, and compute the baselines, which count the songs in the same keys as the model."""
    vocabulary = vocabulary_for([*songs.train, *songs.held_out], polyphonic, options.transpose)
    train = lines(songs.train, vocabulary, transpose=options.transpose)
    held_out = lines(songs.held_out, vocabulary)
    targets = [np.append(line.ids, vocabulary.end) for line in held_out]
    losses = baselines_of_pairs(*pairs_in_keys(train, vocabulary), targets, len(vocabulary))
    return Data(vocabulary, train, held_out, losses)


def make_model(
    options: JazzOptions,
    vocabulary: PartVocabulary,
    *,
    rng: np.random.Generator | None = None,
    backend: str | None = None,
    copies: int = 1,
) -> Model:
    """Make the model that the options describe, with fresh weights.

    Raises MemoryError if ``copies`` of the weights do not fit into the machine's memory.
    """
    check_model(options, parameter_count(options, vocabulary), copies)
    return jazz_model(
        vocabulary,
        model=options.model,
        layers=options.layers,
        hidden=options.hidden,
        embedding=options.embedding,
        dropout=options.dropout,
        memory=options.memory,
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
    communicator: Communicator = SOLO,
) -> tuple[Trainer, Model, Data]:
    """Make a trainer, its model and its data. All random numbers follow from the seed of the options.

    Parameters
    ----------
    songs, options
        The songs, and how to train on them.
    polyphonic
        True if notes of the songs sound together.
    out
        The run folder; None writes nothing.
    backend
        As in the layers.
    overwrite
        Replace an existing run.
    communicator
        The ranks that divide each batch; each of them makes a trainer from the same songs and options.

    Raises
    ------
    ValueError
        If notes sound together in a song although ``polyphonic`` is False, or if there are no notes.
    MemoryError
        If the model or a batch is larger than the memory.
    """
    init_rng, dropout_rng, data_rng = np.random.default_rng(options.seed).spawn(3)
    data = prepare(songs, options, polyphonic)
    model = make_model(options, data.vocabulary, rng=init_rng, backend=backend, copies=TRAINING_COPIES)
    # A lower bound of a step's memory: the logits, their gradients, and each layer's output.
    check_batch(options, 2 * len(data.vocabulary) + options.layers * options.hidden)
    seed = int(data_rng.integers(2**32))
    batches = SongBatches(data.train, data.vocabulary, options.batch, options.seq_length, seed=seed)
    task = jazz_task(model, batches, SongEvaluation(data.held_out, data.vocabulary), dropout_rng)
    return trainer_of(task, options, out, overwrite, communicator), model, data
