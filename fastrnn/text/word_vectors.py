"""Pretrained word vectors from a file in the text form of word2vec, GloVe and fastText.

Each line holds a word and its numbers, with spaces or tabs between them. A first line of two counts, of the words and of the
numbers in a vector, may come before them (word2vec, fastText) or not (GloVe). Words are UTF-8.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from .._core import checks
from .._core.arrays import Array
from .._core.parameter import Parameter
from ..console import quantity
from ._reading.columns import is_number
from .reading import TextError

LONGEST_LINE = 1 << 20  # bytes; a vector of 1,000 numbers takes some 10,000
STEP = 1 << 22  # bytes between two calls of ``progress``
BINARY = ": is it word2vec's binary form? Only the text form can be read"
SHAPES = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))
WIDE = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True)
class WordVectors:
    """Vectors of those words of a vocabulary that a file contains.

    Attributes
    ----------
    words
        The words, in the vocabulary's spelling and order.
    vectors
        float32 ``[len(words), width]``.
    lines
        The number of vectors in the file.
    duplicates
        The number of lines left out because an earlier line has the same word.
    undecodable
        The number of words that are not valid UTF-8.
    """

    words: tuple[str, ...]
    vectors: Array
    lines: int
    duplicates: int
    undecodable: int

    @property
    def width(self) -> int:
        """The number of numbers in a vector."""
        return int(self.vectors.shape[1])

    def assign(self, weight: Parameter, id_of: Callable[[str], int]) -> None:
        """Copy each vector into its word's row of an embedding's weight ``[V, width]``; other rows stay.

        One factor scales the vectors to the standard deviation of the weight's values, so that all rows are of one size.
        Raises ValueError for a weight of another width, or for an id outside 0..V-1.
        """
        V, width = weight.shape
        ids = np.array([id_of(word) for word in self.words], np.int64)
        if width != self.width:
            raise ValueError(f"weight must have {self.width} columns, the width of the vectors, got {width}")
        if len(ids) and (ids.min() < 0 or ids.max() >= V):
            raise ValueError(f"id_of must return ids in 0..{V - 1}, got {ids.min() if ids.min() < 0 else ids.max()}")
        values = weight.data.copy()
        spread = float(np.std(self.vectors, dtype=np.float64))
        values[ids] = self.vectors * (float(np.std(values, dtype=np.float64)) / spread if spread else 1.0)
        weight.assign(values)

    def summary(self, total: int) -> str:
        """Return one line on what was found, for a vocabulary of ``total`` words."""
        extras = [
            f"{number:,} {what}"
            for number, what in ((self.duplicates, "duplicate lines left out"), (self.undecodable, "words not in UTF-8"))
            if number
        ]
        found = f"{self.width} numbers for {len(self.words):,} of {total:,} words ({len(self.words) / max(1, total):.1%})"
        return "; ".join([found, *extras])


def vector_width(path: str | Path) -> int:
    """Return the number of numbers in a vector of the file, from its first line. Raises TextError and OSError."""
    with _opened(Path(path)) as lines:
        return _Format.of(lines).width


def read_vectors(
    path: str | Path, words: Iterable[str], *, progress: Callable[[int, int], None] | None = None
) -> WordVectors:
    """Return the vectors of ``words`` that a file contains; only these are held in memory.

    If the file lacks a word, its lower-case form is looked up, then any other case of its letters: ``Paris`` for ``paris``.
    If a word comes twice, the first line counts. Words that contain spaces and words in invalid UTF-8 are skipped.

    Parameters
    ----------
    path
        The file, not compressed.
    words
        The vocabulary; its order is that of the result.
    progress
        Called with the bytes read so far and the size of the file, every few megabytes and at the end.

    Raises
    ------
    TextError
        For a line with too few numbers, and for a needed line with anything that is not a finite number; the message names
        the line. For a file with fewer vectors than its first line says, without any of the words, compressed or binary.
    OSError
        If the file cannot be read.
    """
    if isinstance(words, str):
        raise TypeError(f"words must be an iterable of words, got {checks.describe(words)}")
    path = Path(path)
    search, total, shown = _Search(words), path.stat().st_size, 0
    with _opened(path) as lines:
        form = _Format.of(lines)
        for line in form.vectors(lines):
            search.add(line)
            if progress is not None and lines.offset - shown >= STEP:
                shown = lines.offset
                progress(shown, total)
    if progress is not None:
        progress(total, total)
    return search.result(path, form.width)


class _Lines:
    """The lines of a file, with the place reached: ``number``, counted from 1, and ``offset`` in bytes."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.number = self.offset = 0
        self.again: bytes | None = None  # a line to return once more

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines that are not blank, without white space at their ends."""
        while line := self._next():
            if row := line.rstrip():
                yield row

    def _next(self) -> bytes:
        if self.again is not None:
            line, self.again = self.again, None
            return line
        line = self.file.readline(LONGEST_LINE)
        self.number += 1
        self.offset += len(line)
        if len(line) == LONGEST_LINE:
            raise self.error(f"expected a word and its numbers, got more than {LONGEST_LINE:,} bytes{BINARY}")
        return line.removeprefix(b"\xef\xbb\xbf") if self.number == 1 else line

    def error(self, fault: str) -> TextError:
        """Return an error that names the file and the line."""
        return TextError(f"{self.path}, line {self.number}: {fault}")


@contextmanager
def _opened(path: Path) -> Iterator[_Lines]:
    """Open a file of vectors. Raises TextError for one that is compressed or in UTF-16."""
    with path.open("rb") as file:
        begin = file.read(6)
        for mark, name in SHAPES:
            if begin.startswith(mark):
                raise TextError(f"{path} is compressed ({name}): unpack it first")
        if begin[:2] in WIDE:
            raise TextError(f"{path} must be UTF-8, got UTF-16")
        file.seek(0)
        yield _Lines(path, file)


class _Line(NamedTuple):
    """A line of the file: its word and its numbers, neither decoded yet."""

    word: bytes
    numbers: bytes
    width: int
    error: Callable[[str], TextError]

    def vector(self) -> Array:
        """Return the numbers, float32 ``[width]``. Raises TextError if they are not finite numbers."""
        fields = self.numbers.split()
        if len(fields) != self.width:
            raise self.error(f"expected a word and {quantity(self.width, 'number')}, got {len(fields) + 1} fields")
        try:
            values = np.array([float(field) for field in fields])
        except ValueError:
            wrong = next(field for field in fields if not is_number(field))
            shown = checks.describe(wrong.decode(errors="replace"))
            raise self.error(f"expected {self.width} numbers after the word, got {shown}") from None
        with np.errstate(over="ignore"):
            vector: Array = values.astype(np.float32)
        if not (finite := np.isfinite(vector)).all():
            raise self.error(f"expected finite numbers in float32, got {values[~finite][0]}")
        return vector


class _Format(NamedTuple):
    """The form of a file: the width of its vectors, and their number if its first line says it."""

    width: int
    declared: int | None

    @classmethod
    def of(cls, lines: _Lines) -> _Format:
        """Read the form from the first line. Raises TextError."""
        row = next(iter(lines), b"")
        if not row:
            raise TextError(f"{lines.path} is empty")
        fields = row.split()
        if len(fields) == 2 and all(field.isdigit() and len(field) < 20 for field in fields):
            count, width = map(int, fields)
            if not width:
                raise lines.error("expected the counts of the words and of the numbers in a vector, got 0 numbers")
            return cls(width, count)
        if len(fields) < 2 or not all(map(is_number, fields[1:])):
            shown = checks.describe(row.decode(errors="replace"))
            raise lines.error(f"expected a word and its numbers, or two counts, got {shown}")
        lines.again = row
        return cls(len(fields) - 1, None)

    def vectors(self, lines: _Lines) -> Iterator[_Line]:
        """Yield the lines of single words. Raises TextError for a line with too few numbers, and for too few lines."""
        found = skipped = 0
        for row in lines:
            found += 1
            if row.count(b" ") == self.width and b"\t" not in row:  # the quick way, which fits nearly all lines
                word, _, numbers = row.partition(b" ")
            else:
                fields = row.split()
                if len(fields) <= self.width:
                    raise self._short(lines, row, len(fields))
                if len(fields) > self.width + 1:  # a word of several, as in GloVe's vectors of 840 billion tokens
                    skipped += 1
                    continue
                word, numbers = fields[0], b" ".join(fields[1:])
            yield _Line(word, numbers, self.width, lines.error)
        if found and skipped == found:
            wanted = f"a word and {self.width} numbers in a line, as the first line says"
            raise TextError(f"{lines.path} must have {wanted}, got more in every line")
        if self.declared is not None and found < self.declared:
            raise TextError(f"{lines.path} must have {self.declared:,} vectors, as its first line says, got {found:,}")

    def _short(self, lines: _Lines, row: bytes, fields: int) -> TextError:
        hint = BINARY if b"\0" in row else "" if lines.file.read(1) else ": is the file cut short?"
        return lines.error(f"expected a word and {quantity(self.width, 'number')}, got {quantity(fields, 'field')}{hint}")


class _Search:
    """The vectors found so far: by a word's own spelling, and by the lower-case form of words in lower and in other case."""

    def __init__(self, words: Iterable[str]) -> None:
        self.wanted = dict.fromkeys(words)  # a set with an order
        self.folded = {word.lower() for word in self.wanted}
        self.exact: dict[str, Array] = {}
        self.lower: dict[str, Array] = {}
        self.other: dict[str, Array] = {}
        self.lines = self.duplicates = self.undecodable = 0

    def add(self, line: _Line) -> None:
        """Add a line, whose numbers are parsed only if a word of the vocabulary may need them."""
        self.lines += 1
        try:
            word = line.word.decode()
        except UnicodeDecodeError:
            self.undecodable += 1
            return
        if not word.isascii():
            word = unicodedata.normalize("NFC", word)
        if word in self.exact:
            self.duplicates += 1
        elif word in self.wanted:
            self.exact[word] = line.vector()
        elif (lower := word.lower()) in self.folded and lower not in self.exact:
            forms = self.lower if word == lower else self.other
            if lower not in forms:
                forms[lower] = line.vector()

    def result(self, path: Path, width: int) -> WordVectors:
        """Return what was found. Raises TextError if that is nothing."""
        by_case = self.other | self.lower | {word: vector for word, vector in self.exact.items() if word == word.lower()}
        found = {word: self.exact.get(word, by_case.get(word.lower())) for word in self.wanted}
        pairs = [(word, vector) for word, vector in found.items() if vector is not None]
        if not pairs:
            raise TextError(
                f"{path} has a vector for none of the vocabulary's {len(self.wanted):,} words among its {self.lines:,}: "
                "is it for another language or encoding?"
            )
        vectors = np.empty((len(pairs), width), np.float32)
        for row, (_, vector) in zip(vectors, pairs, strict=True):
            row[:] = vector
        return WordVectors(tuple(word for word, _ in pairs), vectors, self.lines, self.duplicates, self.undecodable)
