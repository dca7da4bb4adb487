"""Language model of characters or words: a trained model with its vocabulary, which samples and scores text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .._core import checks
from .._core.arrays import Array
from ..sampling import NOTHING, PLAIN, Choice, log_softmax
from .char_model import CharModel
from .vocabulary import EOL, Tokens
from .word_vocabulary import WordVocabulary

LINES_LENGTH = 100  # default limit of a sample's tokens
STREAM_LENGTH = {"character": 1000, "word": 200}
SIDE_BY_SIDE = 64  # samples in one batch
CHUNK = 256  # tokens between two checks for Ctrl-C in sampling, and time steps of one forward pass in scoring


@dataclass(frozen=True, slots=True)
class Sample:
    """Sampled text, prefix included. ``ended`` is True if the model ended it, False if the length did."""

    text: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Score:
    r"""Probability of each token of a text, given the tokens before it.

    Attributes
    ----------
    tokens
        The characters or words. A line ends with ``"\n"``, or ``<EOS>`` if the tokens are words.
    log_probabilities
        float64 ``[n]``, natural logarithms.
    unknown
        The characters or words that became ``<UNK>``, in order. The probability of ``<UNK>`` is that of all unknown tokens
        together, so texts with different unknown tokens cannot be compared.
    """

    tokens: tuple[str, ...]
    log_probabilities: Array
    unknown: tuple[str, ...] = ()

    @property
    def log_probability(self) -> float:
        """The log probability of the whole text, in nats."""
        return float(self.log_probabilities.sum())

    @property
    def bits_per_token(self) -> float:
        """The mean of -log2 p."""
        return -self.log_probability / (len(self.tokens) * float(np.log(2)))

    @property
    def perplexity(self) -> float:
        """The exponential of the mean of -log p."""
        return float(np.exp(-self.log_probability / len(self.tokens)))


class LanguageModel:
    r"""Model and vocabulary, trained on text whose ``reading`` is ``"lines"`` or ``"stream"``.

    A text starts from a zero state. ``eos`` is the id that ends it: ``"\n"`` for lines of characters, ``<EOS>`` for lines of
    words and for sentences of a stream of words, and -1 for a stream of characters, which has no end. ``start`` is the first
    input: -1, the zero vector, or ``<EOS>`` in a stream of words.
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
        """True if the model's texts are a stream whose sentences end with ``<EOS>``."""
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
        """Return ``number`` sampled texts. Raises UnknownCharacters, TypeError or ValueError.

        Each text has its own random numbers, so the first of many equals a single one, apart from the rounding of logits.

        Parameters
        ----------
        number
            The number of texts.
        length
            The largest number of tokens after the prefix. The default is 100 for lines and sentences, and 1000 characters or
            200 words for a stream.
        prefix
            The text that each sample begins with.
        choice
            How a token is chosen from the logits.
        seed
            The seed of the random numbers; None for a fresh one.
        unk
            Whether ``<UNK>`` may be sampled.
        sentences
            Whether a stream of words ends with its first sentence. Otherwise it continues; lines always end with their end.
        progress
            A function that is called from time to time with the number of finished samples.
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
        """Return an iterator over the pieces of one text, as :meth:`sample` gives it, without the prefix."""
        length = checks.positive_int("length", self.default_length() if length is None else length)
        stop = self.eos if self.reading == "lines" else NOTHING
        pieces = self._sampled(prefix, _generators(np.random.SeedSequence(seed), 1), length, choice, unk, stop)
        decode = self._decoder(prefix)
        return (decode(_before(tokens[:, 0], stop)) for tokens in pieces)

    def _decoder(self, prefix: str) -> Callable[[Array], str]:
        return self.vocabulary.decoder(self._encode("prefix", prefix).tolist())

    def _sampled(
        self, prefix: str, generators: Sequence[np.random.Generator], length: int, choice: Choice, unk: bool, stop: int
    ) -> Iterator[Array]:
        """Return an iterator over tokens ``[n,N]`` of N samples, up to ``CHUNK`` steps at a time, until all have ended."""
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

        return chunks()  # an inner generator, so that a wrong prefix raises here and not at the first chunk

    def score(self, text: str) -> Score:
        """Return the log probabilities of a text's tokens, and of its end if it has one.

        Raises UnknownCharacters. Raises ValueError for a line break in a model of lines, for an empty stream, and for a text
        without words.
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
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a str, got {checks.describe(text)}")
        if self.reading == "lines" and EOL in text:
            raise ValueError(f"{name} must be without line breaks: this model's texts are single lines")
        return self.vocabulary.encode(text)


def start_of_stream(vocabulary: Tokens) -> int:
    """Return the first input of a stream: ``<EOS>`` for words, and -1, the zero vector, for characters."""
    return vocabulary.id(vocabulary.end) if isinstance(vocabulary, WordVocabulary) else NOTHING


def _before(column: Array, stop: int) -> Array:
    """Return the tokens before the end."""
    tokens: Array = column[(column != NOTHING) & (column != stop)]
    return tokens


def _generators(seeds: np.random.SeedSequence, number: int) -> list[np.random.Generator]:
    """Return the next ``number`` generators that follow from a seed."""
    return [np.random.default_rng(sequence) for sequence in seeds.spawn(number)]
