"""A trained model with its vocabulary, of characters or words: text in, text and probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks
from ..sampling import NOTHING, PLAIN, Choice, log_softmax
from .char_model import CharModel
from .vocabulary import EOL, Tokens
from .word_vocabulary import WordVocabulary

Array = NDArray[Any]

LINES_LENGTH = 100  # tokens of a sample at most, unless asked otherwise
STREAM_LENGTH = {"character": 1000, "word": 200}
SIDE_BY_SIDE = 64  # samples in one batch
CHUNK = 256  # tokens between two looks at Ctrl-C in sampling, and steps of one pass in scoring


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled text, prefix included; ``ended`` says whether the model ended it, or else the length did."""

    text: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Score:
    """The natural logarithm of the probability of each token of a text, given those before it.

    ``tokens`` are characters or words; in lines the last is the end of the line, ``"\\n"``, of words it is ``<EOS>``.
    ``log_probabilities`` are float64 ``[n]``. ``unknown`` are the characters or words of the text that became ``<UNK>``, in
    their order: the probability of ``<UNK>`` is that of all unknown ones together, so texts that lost different ones have
    probabilities that cannot be compared.
    """

    tokens: tuple[str, ...]
    log_probabilities: Array
    unknown: tuple[str, ...] = ()

    @property
    def log_probability(self) -> float:
        """Of the whole text, in nats."""
        return float(self.log_probabilities.sum())

    @property
    def bits_per_token(self) -> float:
        """The mean of -log2 p."""
        return -self.log_probability / (len(self.tokens) * float(np.log(2)))

    @property
    def perplexity(self) -> float:
        """exp of the mean of -log p."""
        return float(np.exp(-self.log_probability / len(self.tokens)))


class LanguageModel:
    """``model`` over ``vocabulary``, trained on text read as ``"lines"`` or as ``"stream"``.

    A text starts from a zero state. ``eos`` is the id that ends it: lines end with ``"\\n"`` or ``<EOS>``, a sentence of
    a stream of words with ``<EOS>``; a stream of characters has no end, -1. ``start`` is the first input: -1, the zero
    vector, but in a stream of words the end of a sentence before.
    """

    def __init__(self, model: CharModel, vocabulary: Tokens, reading: str) -> None:
        self.model = model
        self.vocabulary = vocabulary
        self.reading = reading
        stream = reading == "stream"
        self.start = start_of_stream(vocabulary) if stream else NOTHING
        self.eos = self.start if stream else vocabulary.id(vocabulary.end)

    @property
    def has_sentences(self) -> bool:
        """Whether its texts are a stream whose sentences end with ``<EOS>``."""
        return self.reading == "stream" and self.vocabulary.unit == "word"

    def default_length(self, sentences: bool = False) -> int:
        """Return the default limit of a sample's length, in tokens."""
        return LINES_LENGTH if sentences or self.reading == "lines" else STREAM_LENGTH[self.vocabulary.unit]

    def sample(
        self,
        number: int = 1,
        length: int | None = None,
        *,
        prefix: str = "",
        choice: Choice = PLAIN,
        seed: int | None = None,
        unk: bool = False,
        sentences: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> list[Sample]:
        """Texts of up to ``length`` tokens after the prefix (None: 100 of lines and sentences, 1000 characters or 200 words
        of a stream).

        Each has its own random numbers from ``seed`` (None: fresh ones), so the first of many is the same as the first
        of one, but for the rounding of the logits. ``<UNK>`` is rejected unless ``unk``. Lines end with their end; a
        stream goes on, but one of words ends with its first sentence if ``sentences``. ``progress`` is called every now and
        then with the number of samples that are done. Raises UnknownCharacters, TypeError or ValueError.
        """
        if sentences and not self.has_sentences:
            raise ValueError("sentences is for a model of a stream of words")
        checks.positive_int("number", number)
        length = checks.positive_int("length", self.default_length(sentences) if length is None else length)
        seeds = np.random.SeedSequence(seed)
        stop = self.eos if sentences or self.reading == "lines" else NOTHING
        samples: list[Sample] = []
        for start in range(0, number, SIDE_BY_SIDE):
            group = _generators(seeds, min(SIDE_BY_SIDE, number - start))
            chunks = []
            for chunk in self._sampled(prefix, group, length, choice, unk, stop):
                chunks.append(chunk)
                if progress is not None:
                    progress(start + len(group) * min(1.0, len(chunks) * CHUNK / length))
            tokens = np.concatenate(chunks)
            for column in tokens.T:
                text = self._decoder(prefix)(_before(column, stop))
                samples.append(Sample(prefix + text, bool((column == stop).any()) and stop != NOTHING))
        return samples

    def stream(
        self,
        length: int | None = None,
        *,
        prefix: str = "",
        choice: Choice = PLAIN,
        seed: int | None = None,
        unk: bool = False,
    ) -> Iterator[str]:
        """One text, as :meth:`sample` gives it, in pieces as they come; the prefix is not repeated."""
        length = checks.positive_int("length", self.default_length() if length is None else length)
        stop = self.eos if self.reading == "lines" else NOTHING
        pieces = self._sampled(prefix, _generators(np.random.SeedSequence(seed), 1), length, choice, unk, stop)
        decode = self._decoder(prefix)
        return (decode(_before(tokens[:, 0], stop)) for tokens in pieces)

    def _decoder(self, prefix: str) -> Callable[[Array], str]:
        return self.vocabulary.decoder(self._encode("prefix", prefix).tolist())

    def _sampled(
        self,
        prefix: str,
        generators: Sequence[np.random.Generator],
        length: int,
        choice: Choice,
        unk: bool,
        stop: int,
    ) -> Iterator[Array]:
        """Tokens ``[n,N]`` of N samples side by side, up to ``CHUNK`` steps at a time, until all have ended."""
        ids = [self.start, *self._encode("prefix", prefix).tolist()]
        first = np.repeat(np.array(ids, np.int64)[:, None], len(generators), axis=1)

        def chunks() -> Iterator[Array]:
            prime, state = first, None
            ended = np.zeros(len(generators), bool)
            for start in range(0, length, CHUNK):
                steps = min(CHUNK, length - start)
                uniforms = np.stack([generator.random(steps) for generator in generators], axis=1)
                banned = None if unk else self.vocabulary.unk_id
                answer = self.model.generate(prime, uniforms, state, eos=stop, choice=choice, banned=banned)
                answer.tokens[:, ended] = NOTHING
                yield answer.tokens
                ended |= (answer.tokens == stop).any(axis=0) & (stop != NOTHING)
                if ended.all():
                    return
                prime, state = answer.tokens[-1:], (answer.h_n, answer.c_n)

        return chunks()  # the prefix has been looked at by now, not when the first chunk is asked for

    def score(self, text: str) -> Score:
        """How probable the model finds a text and its end, if it has one.

        Raises UnknownCharacters, and ValueError for an item with a line break and where there is nothing to score: an
        empty stream, or no word.
        """
        targets = self._encode("text", text).astype(np.int64)
        if not len(targets) and (self.reading == "stream" or self.vocabulary.unit == "word"):
            raise ValueError(f"text must have at least one {self.vocabulary.unit}, got none")
        if self.eos != NOTHING:
            targets = np.append(targets, self.eos)
        inputs = np.append(self.start, targets[:-1])
        result = np.empty(len(targets))
        state = None
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            logits, state = self.model(inputs[part, None], state)
            result[part] = log_softmax(logits[:, 0])[np.arange(len(logits)), targets[part]]
        tokens = tuple(self.vocabulary.tokens[i] for i in targets.tolist())
        return Score(tokens, result, self.vocabulary.unknown(text))

    def _encode(self, name: str, text: str) -> Array:
        if self.reading == "lines" and EOL in text:
            raise ValueError(f"{name} must be without line breaks: this model's texts are single lines")
        return self.vocabulary.encode(text)


def start_of_stream(vocabulary: Tokens) -> int:
    """What a stream begins with: words after the end of a sentence, characters after nothing."""
    return vocabulary.id(vocabulary.end) if isinstance(vocabulary, WordVocabulary) else NOTHING


def _before(column: Array, stop: int) -> Array:
    """The tokens before the end."""
    kept: Array = column[(column != NOTHING) & (column != stop)]
    return kept


def _generators(seeds: np.random.SeedSequence, number: int) -> list[np.random.Generator]:
    """The next so many of the generators that follow from a seed."""
    return [np.random.default_rng(sequence) for sequence in seeds.spawn(number)]
