"""From a text and options to a training run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..console import say
from ..training import Trainer
from ..training.baselines import baselines
from ..training.model_size import TRAINING_COPIES
from ..training.options import make_config, make_optimizer, make_schedule
from ..training.samples import SampleWriter
from .batching import Batch, LineBatches, StreamBatches, line_evaluation, stream_evaluation
from .char_task import CharTask
from .language_model import LanguageModel, start_of_stream
from .options import TrainOptions, WordOptions
from .reading import TextError, items
from .run_folder import make_model
from .tokens import EOS, tokenize
from .vocabulary import EOL, Tokens, Vocabulary
from .word_vocabulary import WordVocabulary

Ids = NDArray[Any]

STREAM_SAMPLE = {"character": 300, "word": 60}  # the length of what is sampled while training


@dataclass(frozen=True)
class Data:
    """A text made ready: batches to train on, the held-out ones, and what there is to say about them.

    ``train_items`` are the lines trained on, None in a stream. ``sizes`` are those of the two parts, in lines or
    tokens. ``baselines`` are held-out losses of models that count, in nats per token. ``unknown`` is the share of ``<UNK>``
    in the held-out part.
    """

    vocabulary: Tokens
    batches: LineBatches | StreamBatches
    evaluation: Callable[[], Iterable[Batch]]
    train_items: list[str] | None
    sizes: tuple[int, int]
    baselines: dict[str, float]
    unknown: float


def prepare(content: str, options: TrainOptions, rng: np.random.Generator) -> Data:
    """Split a text and make its batches.

    A vocabulary of characters is that of the whole text, held-out part included; words are chosen by the part trained on.
    A stream holds out its end; of lines a random choice is held out, the same for the same seed. Raises TextError when
    there is too little text to split.
    """
    make = _prepare_lines if options.reading == "lines" else _prepare_stream
    return make(content, options, rng)


def _prepare_lines(content: str, options: TrainOptions, rng: np.random.Generator) -> Data:
    split_rng, order_rng = rng.spawn(2)
    lines = items(content)
    held = held_out(len(lines), options.val_fraction, "lines")
    order = split_rng.permutation(len(lines)).tolist()
    train, val = sorted(order[held:]), sorted(order[:held])
    if isinstance(options, WordOptions):
        vocabulary, sequences = _word_lines(lines, train, options)
    else:
        vocabulary, sequences = _char_lines(lines, options)
    eos, longest = vocabulary.id(vocabulary.end), options.seq_length
    trained, chosen = ([sequences[i] for i in part] for part in (train, val))
    batches = LineBatches(trained, options.batch, eos, seed=int(order_rng.integers(2**32)), longest=longest)
    return Data(
        vocabulary,
        batches,
        lambda: line_evaluation(chosen, max(options.batch, 64), eos, longest),
        [vocabulary.decode(ids) for ids in trained] if isinstance(options, WordOptions) else [lines[i] for i in train],
        (len(train), len(val)),
        *_counted([np.append(ids, eos) for ids in trained], [np.append(ids, eos)[:longest] for ids in chosen], vocabulary),
    )


def _char_lines(lines: list[str], options: TrainOptions) -> tuple[Tokens, list[Ids]]:
    """A vocabulary, and the ids ``[n]`` of each line without its end."""
    text = "".join(lines)
    vocabulary = Vocabulary.from_text(text, unk=options.unk, min_count=options.min_count, first=EOL, lower=options.lower)
    ends = np.cumsum([len(line) for line in lines])
    return vocabulary, np.split(vocabulary.encode(text), ends[:-1])


def _word_lines(lines: list[str], train: list[int], options: WordOptions) -> tuple[Tokens, list[Ids]]:
    """As :func:`_char_lines`; the words are those of the lines ``train``."""
    tokens = [tokenize(line, keep_case=options.keep_case, sentences=False) for line in lines]
    vocabulary = _frequent_words(itertools.chain.from_iterable(tokens[i] for i in train), options)
    return vocabulary, [vocabulary.ids(line) for line in tokens]


def _prepare_stream(content: str, options: TrainOptions, rng: np.random.Generator) -> Data:
    if isinstance(options, WordOptions):
        vocabulary, ids, held = _word_stream(content, options)
    else:
        vocabulary, ids, held = _char_stream(content, options)
    train, val = ids[:-held], ids[-held:]
    start = start_of_stream(vocabulary)
    batches = StreamBatches(train, options.batch, options.seq_length, seed=int(rng.integers(2**32)), start=start)
    return Data(
        vocabulary,
        batches,
        lambda: stream_evaluation(val, options.batch, options.seq_length, start),
        None,
        (len(train), len(val)),
        *_counted([train], [val], vocabulary),
    )


def _char_stream(content: str, options: TrainOptions) -> tuple[Tokens, Ids, int]:
    """A vocabulary, the text's ids ``[n]``, and how many of them are held out."""
    vocabulary = Vocabulary.from_text(content, unk=options.unk, min_count=options.min_count, lower=options.lower)
    ids = vocabulary.encode(content)
    return vocabulary, ids, held_out(len(ids), options.val_fraction, "characters", smallest_rest=2)


def _word_stream(content: str, options: WordOptions) -> tuple[Tokens, Ids, int]:
    """As :func:`_char_stream`; the words are those of the part trained on."""
    tokens = [*tokenize(content, keep_case=options.keep_case), EOS]
    held = held_out(len(tokens), options.val_fraction, "words", smallest_rest=2)
    vocabulary = _frequent_words(tokens[:-held], options)
    return vocabulary, vocabulary.ids(tokens), held


def _frequent_words(tokens: Iterable[str], options: WordOptions) -> WordVocabulary:
    sentences = options.reading == "stream"
    m, least, keep_case = options.vocabulary_size, options.min_count, options.keep_case
    return WordVocabulary.most_frequent(tokens, m, min_count=least, keep_case=keep_case, sentences=sentences)


def _counted(train: list[Ids], val: list[Ids], vocabulary: Tokens) -> tuple[dict[str, float], float]:
    """The last two parts of :class:`Data`."""
    unknown = float((np.concatenate(val) == vocabulary.unk_id).mean())
    return baselines(train, val, len(vocabulary)), unknown


def held_out(total: int, fraction: float, unit: str, smallest_rest: int = 1) -> int:
    """How many of ``total`` to hold out: at least one. Raises TextError when too little is left to train on."""
    held = max(1, round(total * fraction))
    if total - held < smallest_rest:
        raise TextError(f"the text has too few {unit} ({total}) to hold out {held} and train on the rest")
    return held


def make_trainer(
    content: str,
    options: TrainOptions,
    out: Path | None = None,
    *,
    backend: str | None = None,
    overwrite: bool = False,
) -> tuple[Trainer, LanguageModel, Data]:
    """A trainer ready to run, the model that it will train, and its data.

    Every random number follows from ``options.seed``. Raises TextError, EmptyVocabulary, ValueError, TypeError, and
    MemoryError for a model that is larger than the memory.
    """
    init_rng, dropout_rng, data_rng = np.random.default_rng(options.seed).spawn(3)
    data = prepare(content, options, data_rng)
    model = make_model(options, data.vocabulary, rng=init_rng, backend=backend, copies=TRAINING_COPIES)
    task = CharTask(model, data.batches, data.evaluation, dropout_rng)
    config = make_config(options, overwrite=overwrite)
    language_model = LanguageModel(model, data.vocabulary, options.reading)
    optimizer = make_optimizer(options, task.named_parameters())
    return Trainer(task, optimizer, make_schedule(options), config, out), language_model, data


def sample_writer(model: LanguageModel, path: Path, seed: int, *, show: Callable[[str], None] = say) -> SampleWriter:
    """A callback that samples lines, or a piece of a stream, at each evaluation."""
    lines, unit = model.reading == "lines", model.vocabulary.unit
    # Names are short: some of them say more than one.
    number, length = (5, 60) if lines else (1, STREAM_SAMPLE[unit])

    def draw(seed: int) -> list[str]:
        return [sample.text for sample in model.sample(number, length, seed=seed)]

    return SampleWriter(draw, path, seed, unit, between=", " if lines else "\n", show=show)
