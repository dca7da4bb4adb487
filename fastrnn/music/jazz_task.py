"""From songs and options to a training run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..graph import Model
from ..layers.parameter import Parameter
from ..losses import IGNORED, softmax_cross_entropy
from ..training import Trainer
from ..training.baselines import baselines_of_pairs
from ..training.model_size import TRAINING_COPIES, check_batch, check_model
from ..training.options import make_config, make_optimizer, make_schedule
from .batching import Line, SongBatches, evaluation, lines, vocabulary_for
from .jazz_model import jazz_model, parameter_count
from .key_counts import pairs_in_keys
from .options import JazzOptions
from .song import Song
from .songs import cut
from .vocabulary import PartVocabulary

EVALUATED = 16  # songs at a time
CHUNK = 512  # tokens of each of them: memory does not grow with the length of songs
# Evaluation takes a token half the time of training. So it takes a tenth of what the steps between two evaluations do.
SAMPLED_SHARE, SAMPLED_LEAST = 0.2, 2**14  # tokens of the sample: of those that are trained on meanwhile, and at least


class JazzTask:
    """A model with its songs; a :class:`fastrnn.training.Task`. ``rng`` is what the model's dropout draws from.

    ``held_out`` are the songs that :meth:`evaluate` takes.
    """

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

    def evaluate(self) -> float:
        """The mean loss over the songs held out, each from its beginning to its end, nats per token."""
        return mean_loss(self.model, self._held_out, self._vocabulary)

    def state_dict(self) -> dict[str, Any]:
        """The position in the songs, and the random state."""
        return {"batches": self.batches.state_dict(), "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken. Raises KeyError or ValueError for another task's state."""
        self.batches.load_state_dict(state["batches"])
        self._rng.bit_generator.state = state["rng"]


def mean_loss(
    model: Model, songs: Sequence[Line], vocabulary: PartVocabulary, *, advance: Callable[[int], None] | None = None
) -> float:
    """Return the model's mean loss over whole songs, nats per token; ``advance`` is called with numbers of songs done."""
    total, tokens = 0.0, 0
    for batch in evaluation(songs, vocabulary, EVALUATED):
        state = None
        for start in range(0, len(batch.targets), CHUNK):
            chunk = slice(start, start + CHUNK)
            # Without lengths: what follows the end of a song comes too late to change what counts.
            logits, state = model.stream(*(array[chunk] for array in batch.inputs), state=state)
            loss, _ = softmax_cross_entropy(logits, batch.targets[chunk], ignore_index=IGNORED, reduction="sum")
            total += loss
        tokens += batch.tokens
        if advance:
            advance(len(batch.lengths))
    return total / tokens


def evaluated(held_out: Sequence[Line], options: JazzOptions) -> list[Line]:
    """Return the songs held out that are evaluated during training: all, or a fixed random choice where they are many."""
    limit = max(SAMPLED_LEAST, int(SAMPLED_SHARE * options.eval_every * options.batch * options.seq_length))
    chosen: list[int] = []
    for i in np.random.default_rng([options.seed, 2]).permutation(len(held_out)).tolist():
        if not chosen or sum(len(held_out[j].ids) + 1 for j in (*chosen, i)) <= limit:
            chosen.append(i)
    return [held_out[i] for i in sorted(chosen)]


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
    """Songs made ready. ``baselines`` are held-out losses of models that count, in nats per token.

    ``evaluated`` are the songs held out that are evaluated during training.
    """

    vocabulary: PartVocabulary
    train: list[Line]
    held_out: list[Line]
    evaluated: list[Line]
    baselines: dict[str, float]

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of tokens in both."""
        return sum(len(line.ids) + 1 for line in self.train), sum(len(line.ids) + 1 for line in self.held_out)


def prepare(songs: Split, options: JazzOptions, polyphonic: bool) -> Data:
    """Tokens of both parts, and what counting reaches: on the songs in all the keys that the model learns them in."""
    vocabulary = vocabulary_for([*songs.train, *songs.held_out], polyphonic, options.transpose)
    train = lines(songs.train, vocabulary, transpose=options.transpose)
    held_out = lines(songs.held_out, vocabulary)
    asked = [np.append(line.ids, vocabulary.end) for line in held_out]
    losses = baselines_of_pairs(*pairs_in_keys(train, vocabulary), asked, len(vocabulary))
    return Data(vocabulary, train, held_out, evaluated(held_out, options), losses)


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
    task = JazzTask(model, batches, data.evaluated, data.vocabulary, dropout_rng)
    optimizer = make_optimizer(options, task.named_parameters())
    config = make_config(options, overwrite=overwrite)
    return Trainer(task, optimizer, make_schedule(options), config, out), model, data
