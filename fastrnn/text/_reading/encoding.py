"""Encoders of text into token ids, with only one block of the text in memory at a time."""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tokens import EOS, tokenize
from ..vocabulary import EOL, Vocabulary, code_points
from ..word_vocabulary import WordVocabulary
from .source import Text
from .token_ids import IdWriter, Lines, blocks, smallest_type

Ids = NDArray[Any]

POINTS = 0x110000  # code points of Unicode
CACHED = 1 << 19  # pieces of text whose tokens are cached
BLANK = re.compile(r"\n\s*\n")


class CharEncoder:
    """Encoder of characters of a text, read as lines if ``lines``. The ids of a large text lie on the disk of ``near``."""

    def __init__(self, text: Text, *, lines: bool, near: Path | None = None) -> None:
        self._text, self._lines, self._near = text, lines, near
        self._counts = np.zeros(POINTS, np.int64)
        for block in self._blocks():
            found = np.bincount(code_points(block))
            self._counts[: len(found)] += found

    def _blocks(self) -> Iterable[str]:
        return map("".join, self._text.items()) if self._lines else self._text.blocks()

    def vocabulary(self, *, unk: bool, min_count: int, lower: bool = False) -> Vocabulary:
        """Return the vocabulary of the whole text, lower-cased if ``lower``. Raises as :meth:`Vocabulary.from_text` does."""
        points = np.flatnonzero(self._counts)
        # Repeating each character at most min_count times gives the same vocabulary as the whole text.
        short = "".join(chr(point) * min(self._counts[point], min_count) for point in points.tolist())
        first = EOL if self._lines else ""
        return Vocabulary.from_text(short, unk=unk, min_count=min_count, first=first, lower=lower)

    def ids(self, vocabulary: Vocabulary) -> Ids:
        """Return the ids ``[n]`` of all characters, without the ends of lines."""
        points = np.flatnonzero(self._counts)
        table = np.zeros(int(points[-1]) + 1, smallest_type(len(vocabulary)))
        table[points] = vocabulary.encode("".join(map(chr, points.tolist())))
        writer = IdWriter(table.dtype, int(self._counts.sum()), self._near)
        for block in self._blocks():
            writer.add(table[code_points(block)])
        return writer.finish()

    def lines(self, vocabulary: Vocabulary) -> Lines:
        """Return the ids of each line, without its end."""
        lengths = [np.array([len(item) for item in items], np.int64) for items in self._text.items()]
        return Lines(self.ids(vocabulary), np.concatenate(lengths) if lengths else np.empty(0, np.int64))


class Lexicon(dict[str, tuple[int, ...]]):
    """Cache of token numbers by a piece of text without white space.

    No token contains white space, so the tokens of a text are those of its pieces. ``numbers`` maps each token to its
    number, in the order of first use; :data:`EOS` is 0. With ``sentences`` a piece that ends a sentence ends with EOS.
    """

    def __init__(self, *, keep_case: bool, sentences: bool) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {EOS: 0}
        self._keep_case, self._sentences = keep_case, sentences

    def __missing__(self, piece: str) -> tuple[int, ...]:
        if len(self) >= CACHED:
            self.clear()
        tokens = tokenize(f"{piece} x", keep_case=self._keep_case, sentences=self._sentences)[:-1]
        numbers = self.numbers
        found = self[piece] = tuple([numbers.setdefault(token, len(numbers)) for token in tokens])
        return found

    def of(self, text: str) -> Iterable[int]:
        """Return the numbers of a text's tokens, without the sentence ends that only a blank line marks."""
        return itertools.chain.from_iterable(map(self.__getitem__, text.split()))


class WordEncoder:
    """Encoder of words, which are tokens of :func:`fastrnn.text.tokens.tokenize`; it is used like :class:`CharEncoder`.

    A stream ends with ``<EOS>``. ``count`` is the number of tokens, ``line_count`` the number of lines.
    """

    def __init__(self, text: Text, *, lines: bool, keep_case: bool, near: Path | None = None) -> None:
        self._near = near
        self._lexicon = Lexicon(keep_case=keep_case, sentences=not lines)
        writer = IdWriter(np.int32, text.length, near)
        self._lengths = np.empty(0, np.int64)
        if lines:
            self._lengths = self._write_lines(text, writer)
        else:
            self._write_stream(text, writer)
        self.count, self.line_count = len(writer), len(self._lengths)
        self._numbers = writer.finish()

    def _write_lines(self, text: Text, writer: IdWriter) -> NDArray[np.int64]:
        lengths = array("q")
        for items in text.items():
            found = array("i")
            for item in items:
                before = len(found)
                found.extend(self._lexicon.of(item))
                lengths.append(len(found) - before)
            writer.add(found)
        return np.array(lengths, np.int64)

    def _write_stream(self, text: Text, writer: IdWriter) -> None:
        last = 0  # the number of the last token; a sentence must not end twice
        for block in _whole_pieces(text.blocks()):
            found = array("i")
            for number, paragraph in enumerate(BLANK.split(block)):
                if number and last:
                    found.append(0)
                    last = 0
                found.extend(self._lexicon.of(paragraph))
                last = found[-1] if found else last
            writer.add(found)
        if last or not len(writer):
            writer.add([0])

    def counts(self, part: slice | NDArray[np.bool_]) -> dict[str, int]:
        """Count each word in a part of the text: a slice of all tokens, or the lines where ``part [N]`` is True."""
        if isinstance(part, slice):
            parts: Iterable[Ids] = blocks(self._numbers[part])
        else:
            each = np.repeat(part, self._lengths)
            parts = (block[which] for block, which in zip(blocks(self._numbers), blocks(each), strict=True))
        counts = np.zeros(len(self._lexicon.numbers), np.int64)
        for ids in parts:
            counts += np.bincount(ids, minlength=len(counts))
        return dict(zip(self._lexicon.numbers, counts.tolist(), strict=True))

    def ids(self, vocabulary: WordVocabulary) -> Ids:
        """Return the ids ``[n]`` of all tokens."""
        table = vocabulary.ids(self._lexicon.numbers).astype(smallest_type(len(vocabulary)))
        writer = IdWriter(table.dtype, len(self._numbers), self._near)
        for block in blocks(self._numbers):
            writer.add(table[block])
        return writer.finish()

    def lines(self, vocabulary: WordVocabulary) -> Lines:
        """Return the ids of each line."""
        return Lines(self.ids(vocabulary), self._lengths)


def words_of(text: Text, vocabulary: WordVocabulary) -> Ids:
    """Return the ids of a text's tokens, and of the end that follows them, in an existing vocabulary."""
    return WordEncoder(text, lines=not vocabulary.sentences, keep_case=vocabulary.keep_case).ids(vocabulary)


def _whole_pieces(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the text of blocks, cut only at the beginning of a piece without white space."""
    rest = ""
    for block in blocks:
        text = rest + block
        filled = text.rstrip()
        *before, last = filled.rsplit(None, 1) or [""]
        cut = len(filled) - len(last) if before else 0
        if cut:
            yield text[:cut]
        rest = text[cut:]
    yield rest
