"""A text and its sources: held in memory, or read from files block by block, each time it is iterated."""

from __future__ import annotations

import codecs
import copy
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ..vocabulary import EOL
from .decoding import MARKS, SAMPLE, TextError, mistaken

BLOCK = 1 << 21  # characters of a text that are processed at a time
LARGE = 1 << 24  # bytes or tokens; larger texts are not held in memory
HEAD = 1 << 22  # characters; more than any guess reads
NOT_UTF8 = ("\0", "\x1b")  # characters of UTF-16 and ISO 2022 text whose bytes happen to be valid UTF-8

SPACES = (EOL, " ", "\t", "\u3000")
LONGEST_WORD = 1 << 16  # characters

Convert = Callable[[str, str], str]


class Text:
    """Text in memory. ``sources`` are paths, or ``corpus:NAME`` for an embedded text."""

    def __init__(self, content: str, sources: Sequence[str]) -> None:
        self._content, self.sources = content, tuple(sources)
        self._advance: Callable[[int], None] = lambda count: None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and (self.sha256, self.sources) == (other.sha256, other.sources)

    def __hash__(self) -> int:
        return hash((self.sha256, self.sources))

    @property
    def content(self) -> str:
        """The whole text."""
        return self._content

    @property
    def length(self) -> int:
        """The number of characters."""
        return len(self._content)

    @property
    def head(self) -> str:
        """The first ``HEAD`` characters."""
        found, size = [], 0
        for block in self._blocks(HEAD):
            found.append(block)
            size += len(block)
            if size >= HEAD:
                break
        return "".join(found)[:HEAD]

    @cached_property
    def sha256(self) -> str:
        """The hash of the content, in hexadecimal. It does not depend on the sources."""
        digest = hashlib.sha256()
        for block in self._blocks(BLOCK):
            digest.update(block.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def reporting(self, advance: Callable[[int], None]) -> Text:
        """Return the same text, whose :meth:`blocks` call ``advance`` with the number of characters of each block."""
        text = copy.copy(self)
        text._advance = advance
        return text

    def blocks(self) -> Iterator[str]:
        """Yield the text in blocks; it can be iterated repeatedly. Raises OSError, and TextError if a file has changed."""
        for block in self._blocks(BLOCK):
            yield block
            self._advance(len(block))

    def until(self, end: int) -> Iterator[str]:
        """Yield the first ``end`` characters in blocks."""
        for block in self.blocks():
            if end <= 0:
                return
            yield block[:end]
            end -= len(block)

    def items(self) -> Iterator[list[str]]:
        """Yield lists of items, the lines that are not blank, without surrounding white space."""
        rest: list[str] = []
        for block in self.blocks():
            *lines, last = block.split(EOL)
            if lines:
                lines[0] = "".join([*rest, lines[0]])
                yield [stripped for line in lines if (stripped := line.strip())]
                rest = []
            rest.append(last)
        if line := "".join(rest).strip():
            yield [line]

    def _blocks(self, size: int) -> Iterator[str]:
        for start in range(0, len(self._content), size):
            yield self._content[start : start + size]


class FileText(Text):
    """Text that stays in its files, which are read block by block and must not change meanwhile.

    Parameters
    ----------
    files
        The paths.
    encoding
        The encoding of all files; None for UTF-8.
    convert
        A function ``convert(part, file_name)`` that is applied to each part of the text.
    by_line
        Whether a part is whole lines; otherwise it is whole words.

    Raises
    ------
    OSError
        A file cannot be read.
    UnicodeError
        A file is in another encoding.
    LookupError
        The encoding cannot be read in blocks.
    TextError
        ``convert`` raises it.
    """

    def __init__(
        self, files: Sequence[Path], encoding: str | None = None, convert: Convert | None = None, *, by_line: bool = True
    ) -> None:
        super().__init__("", [str(file.absolute()) for file in files])
        self._files = [file.absolute() for file in files]
        self._encoding, self._convert = encoding, convert
        self._parts = whole_lines if by_line else whole_words
        self._length = 0
        self.visible = 0  # characters other than white space, counted until there are two
        digest = hashlib.sha256()
        for block in self._read(BLOCK):
            digest.update(block.encode("utf-8", "surrogatepass"))
            self._length += len(block)
            if self.visible < 2:
                self.visible += len("".join(block.split()))
        self._sha256 = digest.hexdigest()

    @property
    def content(self) -> str:
        """The whole text, read anew."""
        return "".join(self._blocks(BLOCK))

    @property
    def length(self) -> int:
        """The number of characters."""
        return self._length

    @cached_property
    def sha256(self) -> str:
        """The hash of the content, in hexadecimal."""
        return self._sha256

    def _blocks(self, size: int) -> Iterator[str]:
        left = self._length
        for block in self._read(size):
            left -= len(block)
            if left < 0:
                break
            yield block
        if left:
            raise TextError(f"{', '.join(self.sources[:3])} changed while it was read")

    def _read(self, size: int) -> Iterator[str]:
        for number, file in enumerate(self._files):
            last = EOL
            for block in self._of_file(file, size):
                yield block
                last = block
            if number + 1 < len(self._files) and not last.endswith(EOL):
                yield EOL

    def _of_file(self, file: Path, size: int) -> Iterator[str]:
        blocks = file_blocks(file, size, self._encoding)
        if self._convert is None:
            return blocks
        convert, name = self._convert, str(file)
        return (found for part in self._parts(blocks) if (found := convert(part, name)))


def file_blocks(path: Path, size: int, encoding: str | None = None) -> Iterator[str]:
    r"""Yield the text of a file, ``size`` bytes at a time, with line ends as ``\n``. A byte order mark sets the encoding."""
    with open(path, "rb") as file:
        start = file.read(max(len(mark) for mark, _ in MARKS))
        mark, marked = next((pair for pair in MARKS if start.startswith(pair[0])), (b"", None))
        file.seek(len(mark))
        decode = codecs.getincrementaldecoder(marked or encoding or "utf-8")()
        decoder = io.IncrementalNewlineDecoder(decode, translate=True)
        while data := file.read(size):
            if block := decoder.decode(data):
                yield block
        if rest := decoder.decode(b"", final=True):
            yield rest


def _beginning(file: Path) -> bytes:
    """Return the bytes of a file from which an encoding is judged; none if a byte order mark sets the encoding."""
    with open(file, "rb") as opened:
        data = opened.read(SAMPLE + 1)
    return b"" if any(data.startswith(mark) for mark, _ in MARKS) else data


def whole_lines(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the text of blocks, cut at ends of lines, however long the lines are."""
    rest: list[str] = []
    for block in blocks:
        end = block.rfind(EOL) + 1
        if end:
            yield "".join([*rest, block[:end]])
            rest = []
        rest.append(block[end:])
    if last := "".join(rest):
        yield last


def whole_words(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the text of blocks, cut after white space.

    Words stay whole, because lower-casing a letter may depend on its word, as for a Greek sigma. Text without white space
    for LONGEST_WORD characters is cut where a block ends.
    """
    rest = ""
    for block in blocks:
        end = max(map(block.rfind, SPACES)) + 1
        if not end and len(rest) + len(block) > LONGEST_WORD:
            end = len(block)
        if end:
            yield rest + block[:end]
            rest = ""
        rest += block[end:]
    if rest:
        yield rest


def large_text(
    files: Sequence[Path], encoding: str | None = None, convert: Convert | None = None, *, by_line: bool = True
) -> FileText | None:
    """Return the text of large files, read in blocks; None if they are small or cannot be read in blocks. Raises OSError.

    ``encoding``, ``convert`` and ``by_line`` are those of :class:`FileText`.
    """
    if not all(file.is_file() for file in files) or sum(file.stat().st_size for file in files) < LARGE:
        return None
    if any(mistaken(_beginning(file), encoding) for file in files):
        return None
    try:
        text = FileText(files, encoding, convert, by_line=by_line)
    except (UnicodeError, LookupError, TextError):
        return None  # the caller then reads the files as a whole, which explains the error
    disguised = encoding is None and any(mark in text.head for mark in NOT_UTF8)
    return None if disguised or text.visible < 2 else text
