"""Text from files and folders, and how to read it: as lines, each an item, or as one stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import corpora
from ._reading.columns import column_of
from ._reading.decoding import TextError as TextError
from ._reading.decoding import decode
from ._reading.scripts import has_spaceless, is_sentence, is_verse, words_in
from ._reading.source import Text as Text
from ._reading.source import large_text
from .vocabulary import EOL

READINGS = ("lines", "stream")
SUFFIX = ".txt"
CORPUS = "corpus:"

# A list has lines of a few words; prose, plays and code have longer ones, or blank lines between their parts.
ITEM_WORDS = 3
ITEM_SHARE = 0.9
BLANK_SHARE = 0.1
LOOKED_AT = 1 << 21  # characters that the guess is made from
VERSE_SHARE = 0.5  # between the verses stand titles and poets


@dataclass(frozen=True, slots=True)
class TextFormat:
    """The format of a text in a file, or on standard input.

    ``encoding`` is the canonical name of a text encoding (None: UTF-8). With ``column`` each line is a row of columns with
    tabs between them, of which this one is the text: 1 is the first. With ``lower`` the text is lower-cased.
    """

    encoding: str | None = None
    column: int | None = None
    lower: bool = False

    def text(self, data: bytes, what: str) -> str:
        """Return the text of a file's bytes, whose line ends become ``\\n``. Raises TextError; ``what`` names the file."""
        return self.taken(decode(data, what, self.encoding), what)

    def taken(self, text: str, what: str) -> str:
        """Return the selected column of a decoded text, lower-cased if asked. Raises TextError if a line lacks it."""
        text = text.replace("\r\n", EOL).replace("\r", EOL)
        if self.column is not None:
            text = column_of(text, self.column, what)
        return text.lower() if self.lower else text


PLAIN = TextFormat()


def embedded(name: str, taken: TextFormat = PLAIN) -> Text:
    """The text of :func:`fastrnn.corpora.load`. Raises TextError for an unknown name, and for columns that it has not."""
    if name not in corpora.names():
        raise TextError(f"{CORPUS}{name} is neither a file nor an embedded text: those are {', '.join(corpora.names())}")
    if taken.encoding is not None:
        raise TextError(f"--encoding is for files, and {CORPUS}{name} comes with fastrnn")
    return Text(taken.taken(corpora.load(name), CORPUS + name), (CORPUS + name,))


def read(paths: Iterable[str | Path], taken: TextFormat = PLAIN) -> Text:
    """The text of files and folders, one after the other.

    A folder stands for all ``*.txt`` files in it and in the folders below, in the order of their paths. A byte order
    mark at the beginning of a file is dropped, and line ends become ``\\n``. A file that does not end in a newline
    gets one when another follows. Large files are read in blocks, whenever the text is gone through. Raises TextError for a
    file that is not in its encoding, for a folder without text, and for fewer than two characters in all; OSError where a
    file cannot be read.
    """
    files = [file for path in paths for file in _files(Path(path))]
    convert = None if taken.column is None and not taken.lower else taken.taken
    if (large := large_text(files, taken.encoding, convert, by_line=taken.column is not None)) is not None:
        return large
    parts = [read_file(file, taken) for file in files]
    joined = "".join(part if part.endswith(EOL) else part + EOL for part in parts[:-1]) + "".join(parts[-1:])
    if len(joined.strip()) < 2:
        fault = "has only one character" if joined.strip() else "has only white space" if joined else "is empty"
        raise TextError(f"{', '.join(map(str, files))} {fault}: there is nothing to learn from")
    return Text(joined, tuple(str(file.absolute()) for file in files))


def find(names: Sequence[str], taken: TextFormat = PLAIN) -> Text:
    """The text that a user means: paths as for :func:`read`, or one ``corpus:NAME``, unless there is a file of that name.

    Raises as :func:`read` does.
    """
    return read(names, taken) if any(Path(name).exists() for name in names) else reread(names, taken)


def reread(sources: Sequence[str], taken: TextFormat = PLAIN) -> Text:
    """The text of :attr:`Text.sources`, where every file has its absolute path. Raises as :func:`read` does."""
    if len(sources) == 1 and sources[0].startswith(CORPUS):
        return embedded(sources[0].removeprefix(CORPUS), taken)
    return read(sources, taken)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob(f"*{SUFFIX}") if file.is_file())
    if not found:
        raise TextError(f"{path} is a folder without {SUFFIX} files")
    return found


def read_file(path: Path, taken: TextFormat = PLAIN) -> str:
    """The text of one file, as :func:`read` takes it. Raises TextError, OSError."""
    return taken.text(path.read_bytes(), str(path))


def items(text: str) -> list[str]:
    """The items of a text read as lines: each line without the white space around it, blank ones left out."""
    return [stripped for line in text.split(EOL) if (stripped := line.strip())]


def guess(text: str) -> tuple[str, str]:
    """The reading that suits a text, ``"lines"`` or ``"stream"``, and why, in words for the user.

    Lines when at least nine tenths of them have at most three words, with no more than a tenth of blank lines between
    them: a list of names, words, titles. Everything else is a stream. In scripts without spaces, words are as many as the
    length of a line makes likely (:mod:`fastrnn.text._reading.scripts`). Of a long text the beginning is looked at.
    """
    its = "its" if len(text) <= LOOKED_AT else "its first"
    text = text[:LOOKED_AT]
    lines = text.rstrip(EOL).split(EOL)
    filled = items(text)
    blank = 1 - len(filled) / len(lines)
    if len(filled) < 2:
        return "stream", "it has only one line"
    if blank > BLANK_SHARE:
        return "stream", f"{blank:.0%} of {its} {len(lines):,} lines are blank"
    return _guess_by_length(filled, its, has_spaceless(text))


def _guess_by_length(lines: list[str], its: str, spaceless: bool) -> tuple[str, str]:
    """Guess as :func:`guess` does, from the words per line. ``spaceless``: some lines are in a script without spaces."""
    if spaceless:
        verses = sum(map(is_verse, lines)) / len(lines)
        if verses > VERSE_SHARE:
            return "stream", f"{verses:.0%} of {its} {len(lines):,} lines are verses of 5 or 7 characters"
        short = sum(words_in(line) <= ITEM_WORDS and not is_sentence(line) for line in lines) / len(lines)
        size = f"are at most about {ITEM_WORDS} words long and without punctuation"
    else:
        short = sum(len(line.split()) <= ITEM_WORDS for line in lines) / len(lines)
        size = f"have at most {ITEM_WORDS} words"
    why = f"{short:.0%} of {its} {len(lines):,} lines {size}"
    return ("lines" if short >= ITEM_SHARE else "stream"), why
