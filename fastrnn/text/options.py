"""Options of training a language model on characters or words, and their defaults for the two readings of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._core import checks
from ..training._run.options import RunOptions, defaults_of
from ..training._run.pace import paced
from ._reading.decoding import text_encoding
from .char_model import tied_sizes_error
from .reading import READINGS, TextFormat
from .vocabulary import EOL, Tokens, Vocabulary
from .word_vocabulary import WordVocabulary

UNK_MIN_COUNT = 2  # with 1, no training character is <UNK>, so the weights of <UNK> would stay random

CHAR_DEFAULTS: dict[str, dict[str, Any]] = {
    # Items are few and short, so the model is small, dropout is high, and training ends before it memorises them.
    "lines": {"hidden": 128, "batch": 32, "seq_length": 256, "max_steps": 1000, "eval_every": 100, "dropout": 0.5},
    # After 1,600 steps, the held-out loss of tinyshakespeare is 1.43 nats with muon, and 1.51 with adamw at best.
    "stream": {
        "hidden": 256, "batch": 32, "seq_length": 128, "max_steps": 3000, "eval_every": 250, "dropout": 0.2,
        "optimizer": "muon",
    },
}  # fmt: skip
# Each word is rare, so the model would memorise the text without dropout and a large weight decay.
_WORDS = {"hidden": 256, "batch": 32, "dropout": 0.4, "eval_every": 200, "tied": True}
WORD_DEFAULTS: dict[str, dict[str, Any]] = {
    "lines": {**_WORDS, "seq_length": 128, "max_steps": 2000},
    "stream": {**_WORDS, "seq_length": 35, "max_steps": 1200, "optimizer": "muon", "weight_decay": 0.3},
}


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Options of a run on characters; see :class:`fastrnn.training._run.options.RunOptions`.

    ``seq_length`` is the number of steps of truncated backpropagation in a stream, and the length limit of an item in lines.
    ``encoding``, ``column`` and ``lower`` are those of :class:`fastrnn.text.reading.TextFormat`, and ``tied`` is that of
    :class:`fastrnn.text.char_model.CharModel`. Raises TypeError or ValueError naming the option.
    """

    kind = "chars"
    defaults = CHAR_DEFAULTS

    reading: str
    unk: bool = False
    min_count: int = 1
    lower: bool = False
    encoding: str | None = None
    column: int | None = None
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("reading", self.reading, READINGS)
        if checks.flag("tied", self.tied) and self.embedding != self.hidden:
            raise ValueError(tied_sizes_error(self.embedding, self.hidden))
        checks.positive_int("min_count", self.min_count)
        checks.flag("unk", self.unk)
        checks.flag("lower", self.lower)
        if self.encoding is not None:
            text_encoding(self.encoding)
        if self.column is not None:
            checks.positive_int("column", self.column)

    def read_vocabulary(self, value: Any) -> Tokens:
        """Return the vocabulary from its ``to_json()``. Raises TypeError or ValueError."""
        vocabulary = Vocabulary.from_json(value)
        if self.reading == "lines" and EOL not in vocabulary.tokens:
            raise ValueError("the vocabulary lacks the end of the line")
        return vocabulary

    @property
    def text_format(self) -> TextFormat:
        """The format of the text's files."""
        return TextFormat(self.encoding, self.column, self.lower)


@dataclass(frozen=True, kw_only=True)
class WordOptions(TrainOptions):
    """Options of a run on words. Text is lower-cased unless ``keep_case``.

    The vocabulary holds the ``vocabulary_size`` most frequent words that occur at least ``min_count`` times. All others are
    ``<UNK>``, which is always part of it. ``vectors`` is the path of the file of word vectors from which the embedding
    started, or None.
    """

    kind = "words"
    defaults = WORD_DEFAULTS

    # Held-out perplexity per word of tinyshakespeare after the same steps: 91.7 with 1, 99.6 with 2 and a dropout of 0.5.
    layers: int = 1
    embedding: int = 256
    unk: bool = True
    min_count: int = UNK_MIN_COUNT
    vocabulary_size: int = 10_000
    keep_case: bool = False
    vectors: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive_int("vocabulary_size", self.vocabulary_size)
        checks.flag("keep_case", self.keep_case)
        if self.vectors is not None and not isinstance(self.vectors, str):
            raise TypeError(f"vectors must be the path of a file or None, got {checks.describe(self.vectors)}")
        if not self.unk:
            raise ValueError(f"unk must be True for words, got {self.unk}")
        if self.lower:
            raise ValueError(f"lower must be False for words, which have keep_case instead, got {self.lower}")

    def read_vocabulary(self, value: Any) -> Tokens:
        """Return the vocabulary from its ``to_json()``. Raises TypeError or ValueError."""
        return WordVocabulary.from_json(value)


KINDS: dict[str, type[TrainOptions]] = {options.kind: options for options in (TrainOptions, WordOptions)}


def make_options(reading: str, kind: str = "chars", **given: Any) -> TrainOptions:
    """Return the ``given`` options, completed by the defaults for a reading.

    Parameters
    ----------
    reading
        ``"lines"`` or ``"stream"``.
    kind
        ``"chars"`` or ``"words"``. For characters, a ``min_count`` above 1 implies ``unk``, and ``unk`` implies a
        ``min_count`` of 2.
    **given
        Options of :class:`TrainOptions` or :class:`WordOptions`, by name.

    Raises
    ------
    TypeError, ValueError
        The message names the option.
    """
    checks.choice("reading", reading, READINGS)
    options = KINDS[checks.choice("kind", kind, tuple(KINDS))]
    usual = options.defaults[reading]
    usual_optimizer = usual.get("optimizer", options.optimizer)
    optimizer = given.get("optimizer", usual_optimizer)
    defaults: dict[str, Any] = dict(defaults_of(optimizer))
    if optimizer != usual_optimizer:  # the usual rates do not suit another one
        usual = {name: value for name, value in usual.items() if name not in defaults}
    if given.get("unk"):
        defaults["min_count"] = UNK_MIN_COUNT
    elif given.get("min_count", 1) != 1:
        defaults["unk"] = True
    made = {**paced({**defaults, **usual}, given), "reading": reading}
    if made.get("tied"):
        made.setdefault("embedding", made["hidden"])  # so another size of the model stays tied
        if "tied" not in given and made["embedding"] != made["hidden"]:
            made["tied"] = False  # the default of words is for equal sizes
    return options(**made)
