"""From songs and options to a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._core.parameter import Parameter
from ...graph import Model
from ...losses import IGNORED, softmax_cross_entropy
from ...training import Trainer
from ...training._run.model_size import TRAINING_COPIES, check_batch, check_model
from ...training._run.options import make_config, make_optimizer, make_schedule
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


class JazzTask:
    """A model with its songs; a :class:`fastrnn.training.Task`. ``rng`` is what the model's dropout draws from."""

    def __init__(
        self,
        model: Model,
        batches: SongBatches,
        held_out: Sequence[Line],
        vocabulary: PartVocabulary,
        rng: np.random.Generator,
    ) -> None:
        self.model, self.batches = model, batches
        self._held_out, self._vocabulary, self._rng = held_out, vocabulary, rng
        self._limit: int | None = None  # tokens that are evaluated; None is all
        self._sample: Sequence[Line] = held_out
        model.set_rng(rng)

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """The model's."""
        return self.model.named_parameters()

    def train_step(self) -> tuple[float, int]:
        """Forward and backward over the next batch: the mean loss in nats per token, and how many were counted."""
        batch = self.batches.next()
        logits, backward = self.model.forward(*batch.inputs, lengths=batch.lengths)
        loss, dlogits = softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED)
        backward(dlogits, need_dx=False)
        return loss, batch.tokens

    @property
    def evaluated(self) -> tuple[int, int]:
        """The tokens that :meth:`evaluate` counts, and those held out."""
        return _tokens(self._sample), _tokens(self._held_out)

    def limit_evaluation(self, tokens: int) -> None:
        """Let :meth:`evaluate` take at most ``tokens``, in whole songs, always the same; one song at least.

        The choice is part of :meth:`state_dict`.
        """
        self._limit_to(tokens if _tokens(self._held_out) > tokens else None)

    def _limit_to(self, tokens: int | None) -> None:
        self._limit = tokens
        self._sample = self._held_out if tokens is None else _some(self._held_out, tokens)

    def evaluate(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """The mean loss over the songs held out or their sample, each from its beginning to its end, nats per token.

        ``advance`` is called with how many tokens more have been counted.
        """
        return self._mean_loss(self._sample, advance)

    def evaluate_in_full(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """The mean loss over all songs held out; ``advance`` is called as by :meth:`evaluate`."""
        return self._mean_loss(self._held_out, advance)

    def _mean_loss(self, songs: Sequence[Line], advance: Callable[[int], None] = lambda tokens: None) -> float:
        total, tokens = 0.0, 0
        for batch in evaluation(songs, self._vocabulary, EVALUATED):
            state = None
            for start in range(0, len(batch.targets), CHUNK):
                chunk = slice(start, start + CHUNK)
                # Without lengths: what follows the end of a song comes too late to change what counts.
                logits, state = self.model.stream(*(array[chunk] for array in batch.inputs), state=state)
                targets = batch.targets[chunk]
                loss, _ = softmax_cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
                total += loss
                advance(int(np.count_nonzero(targets != IGNORED)))
            tokens += batch.tokens
        return total / tokens

    def state_dict(self) -> dict[str, Any]:
        """The position in the songs, the random state, and what is evaluated."""
        return {"batches": self.batches.state_dict(), "rng": self._rng.bit_generator.state, "evaluated": self._limit}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken. Raises KeyError or ValueError for another task's state."""
        self.batches.load_state_dict(state["batches"])
        self._rng.bit_generator.state = state["rng"]
        limit = state.get("evaluated")  # older versions evaluated all
        self._limit_to(None if limit is None else int(limit))


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
    task = JazzTask(model, batches, data.held_out, data.vocabulary, dropout_rng)
    optimizer = make_optimizer(options, task.named_parameters())
    config = make_config(options, overwrite=overwrite)
    return Trainer(task, optimizer, make_schedule(options), config, out), model, data
