"""Preparation of a training run from a text and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core.arrays import Array
from ..console import say
from ..distributed.communicator import SOLO, Communicator
from ..training import Trainer
from ..training._run.model_size import TRAINING_COPIES
from ..training._run.model_task import Batch, Batches, Evaluation, SequenceTask
from ..training._run.options import trainer_of
from ..training._run.samples import SampleWriter
from ..training.baselines import baselines
from ._reading.decoding import TextError
from ._reading.encoding import CharEncoder, WordEncoder
from ._reading.source import Text
from ._reading.token_ids import Lines, blocks
from ._training.batching import IGNORED, LineBatches, StreamBatches
from ._training.evaluation import LineEvaluation, StreamEvaluation
from .char_model import CharModel
from .language_model import LanguageModel, start_of_stream
from .options import TrainOptions, WordOptions
from .run_folder import make_model
from .vocabulary import Tokens
from .word_vocabulary import WordVocabulary

Ids = NDArray[Any]
T = TypeVar("T")

# The number of times that a text is read before the first step, by kind and reading.
READ_TIMES = {("chars", "stream"): 2, ("chars", "lines"): 4, ("words", "stream"): 1, ("words", "lines"): 2}
STREAM_SAMPLE = {"character": 300, "word": 60}  # tokens of a sample during training


@dataclass(frozen=True)
class Data:
    """Prepared text: training and held-out batches, and statistics about them.

    Attributes
    ----------
    train_items
        The training lines, which can be iterated repeatedly; None for a stream.
    sizes
        The sizes of the training and the held-out part, in lines or tokens.
    baselines
        The held-out losses of models that count tokens, in nats per token, by name.
    unknown
        The share of ``<UNK>`` in the held-out part.
    """

    vocabulary: Tokens
    batches: LineBatches | StreamBatches
    evaluation: LineEvaluation | StreamEvaluation
    train_items: Iterable[str] | None
    sizes: tuple[int, int]
    baselines: dict[str, float]
    unknown: float


def prepare(text: Text, options: TrainOptions, rng: np.random.Generator, near: Path | None = None) -> Data:
    """Split a text and make its batches.

    A vocabulary of characters covers the whole text, held-out part included; a vocabulary of words, only the training part.
    A stream holds out its end. Lines hold out a random choice that follows from the seed. The ids of a large text are in a
    file on the disk of ``near`` (see :class:`fastrnn.text._reading.token_ids.IdWriter`). Raises TextError if the text is too
    short to split, and OSError.
    """
    make = _prepare_lines if options.reading == "lines" else _prepare_stream
    return make(text, options, rng, near)


class _Repeatable(Iterable[T]):
    """Iterable that calls ``make`` for a fresh iterator each time."""

    def __init__(self, make: Callable[[], Iterator[T]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[T]:
        return self._make()


def _prepare_lines(text: Text, options: TrainOptions, rng: np.random.Generator, near: Path | None) -> Data:
    split_rng, order_rng = rng.spawn(2)
    count = sum(map(len, text.items()))
    held = held_out(count, options.val_fraction, "lines")
    order = split_rng.permutation(count)
    train, val = np.sort(order[held:]), np.sort(order[:held])
    vocabulary, sequences = _lines(text, train, options, near)
    eos, longest = vocabulary.id(vocabulary.end), options.seq_length
    trained, chosen = sequences.chosen(train), sequences.chosen(val)
    batches = LineBatches(trained, options.batch, eos, seed=int(order_rng.integers(2**32)), longest=longest)
    if isinstance(options, WordOptions):
        items = _Repeatable(lambda: map(vocabulary.decode, trained))
    else:
        items = _Repeatable(lambda: _items_at(text, train))
    held_out_ids = _Repeatable(lambda: (np.append(ids, eos)[:longest] for ids in chosen))
    return Data(
        vocabulary,
        batches,
        LineEvaluation(chosen, max(options.batch, 64), eos, longest),
        items,
        (len(train), len(val)),
        *_statistics((np.append(ids, eos) for ids in trained), held_out_ids, vocabulary),
    )


def _items_at(text: Text, numbers: NDArray[np.int64]) -> Iterator[str]:
    """Yield the items at these ascending indices."""
    wanted = iter(numbers.tolist())
    number = next(wanted, -1)
    start = 0
    for items in text.items():
        while 0 <= number - start < len(items):
            yield items[number - start]
            number = next(wanted, -1)
        start += len(items)


def _lines(text: Text, train: NDArray[np.int64], options: TrainOptions, near: Path | None) -> tuple[Tokens, Lines]:
    """Return a vocabulary, and the ids ``[n]`` of each line without its end; words are those of the lines ``train``."""
    if not isinstance(options, WordOptions):
        characters = CharEncoder(text, lines=True, near=near)
        known = characters.vocabulary(unk=options.unk, min_count=options.min_count, lower=options.lower)
        return known, characters.lines(known)
    words = WordEncoder(text, lines=True, keep_case=options.keep_case, near=near)
    in_train = np.zeros(words.line_count, np.bool_)
    in_train[train] = True
    vocabulary = _frequent_words(words.counts(in_train), options)
    return vocabulary, words.lines(vocabulary)


def _prepare_stream(text: Text, options: TrainOptions, rng: np.random.Generator, near: Path | None) -> Data:
    if isinstance(options, WordOptions):
        vocabulary, ids, held = _word_stream(text, options, near)
    else:
        vocabulary, ids, held = _char_stream(text, options, near)
    train, val = ids[:-held], ids[-held:]
    start = start_of_stream(vocabulary)
    batches = StreamBatches(train, options.batch, options.seq_length, seed=int(rng.integers(2**32)), start=start)
    return Data(
        vocabulary,
        batches,
        StreamEvaluation(val, options.batch, options.seq_length, start),
        None,
        (len(train), len(val)),
        *_statistics([train], [val], vocabulary),
    )


def _char_stream(text: Text, options: TrainOptions, near: Path | None) -> tuple[Tokens, Ids, int]:
    """Return a vocabulary, the text's ids ``[n]``, and the number of held-out ids."""
    held = held_out(text.length, options.val_fraction, "characters", smallest_rest=2)
    characters = CharEncoder(text, lines=False, near=near)
    vocabulary = characters.vocabulary(unk=options.unk, min_count=options.min_count, lower=options.lower)
    return vocabulary, characters.ids(vocabulary), held


def _word_stream(text: Text, options: WordOptions, near: Path | None) -> tuple[Tokens, Ids, int]:
    """Return the same as :func:`_char_stream`, with the words of the training part."""
    words = WordEncoder(text, lines=False, keep_case=options.keep_case, near=near)
    held = held_out(words.count, options.val_fraction, "words", smallest_rest=2)
    vocabulary = _frequent_words(words.counts(slice(0, words.count - held)), options)
    return vocabulary, words.ids(vocabulary), held


def _frequent_words(counts: Mapping[str, int], options: WordOptions) -> WordVocabulary:
    sentences = options.reading == "stream"
    m, least, keep_case = options.vocabulary_size, options.min_count, options.keep_case
    return WordVocabulary.most_frequent(counts, m, min_count=least, keep_case=keep_case, sentences=sentences)


def _statistics(train: Iterable[Ids], val: Iterable[Ids], vocabulary: Tokens) -> tuple[dict[str, float], float]:
    """Return the last two fields of :class:`Data`. ``val`` must be iterable repeatedly."""
    unknown = sum(int(np.count_nonzero(part == vocabulary.unk_id)) for ids in val for part in blocks(ids))
    return baselines(train, val, len(vocabulary)), unknown / sum(map(len, val))


def held_out(total: int, fraction: float, unit: str, smallest_rest: int = 1) -> int:
    """Return the number of ``total`` to hold out, at least one. Raises TextError if too little is left to train on."""
    held = max(1, round(total * fraction))
    if total - held < smallest_rest:
        raise TextError(f"the text has too few {unit} ({total}) to hold out {held} and train on the rest")
    return held


def char_task(model: CharModel, batches: Batches, evaluation: Evaluation, rng: np.random.Generator) -> SequenceTask:
    """Return the training task of a model that takes ids, whose dropout draws from ``rng``."""

    def learn(batch: Batch, state: Any) -> tuple[float, Any]:
        return model.learn(batch.inputs, batch.targets, state, batch.lengths, ignore_index=IGNORED)

    def read(batch: Batch, state: Any) -> tuple[Array, Any]:
        return model(batch.inputs, state, batch.lengths)

    return SequenceTask(model, batches, evaluation, rng, learn, read)


def make_trainer(
    text: str | Text,
    options: TrainOptions,
    out: Path | None = None,
    *,
    backend: str | None = None,
    overwrite: bool = False,
    communicator: Communicator = SOLO,
) -> tuple[Trainer, LanguageModel, Data]:
    """Return a trainer, the model that it will train, and its data.

    The ranks of ``communicator`` divide each batch; each of them makes a trainer from the same text and options.
    Every random number follows from ``options.seed``. Raises TextError, EmptyVocabulary, ValueError, TypeError, OSError, and
    MemoryError for a model that is larger than the machine's memory.
    """
    init_rng, dropout_rng, data_rng = np.random.default_rng(options.seed).spawn(3)
    if isinstance(text, str):
        text = Text(text.lower() if options.lower else text, ())
    data = prepare(text, options, data_rng, out)
    model = make_model(options, data.vocabulary, rng=init_rng, backend=backend, copies=TRAINING_COPIES)
    task = char_task(model, data.batches, data.evaluation, dropout_rng)
    language_model = LanguageModel(model, data.vocabulary, options.reading)
    return trainer_of(task, options, out, overwrite, communicator), language_model, data


def sample_writer(model: LanguageModel, path: Path, seed: int, *, show: Callable[[str], None] = say) -> SampleWriter:
    """Return a callback that samples lines, or a piece of a stream, at each evaluation."""
    lines, unit = model.reading == "lines", model.vocabulary.unit
    number, length = (5, 60) if lines else (1, STREAM_SAMPLE[unit])

    def draw(seed: int) -> list[str]:
        return [sample.text for sample in model.sample(number, length, seed=seed)]

    return SampleWriter(draw, path, seed, unit, between=", " if lines else "\n", show=show)
