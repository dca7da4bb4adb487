"""Text from files and folders, and its reading: as lines, each an item, or as one stream."""

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
LOOKED_AT = 1 << 21  # characters at the beginning of a text that the guess is made from
VERSE_SHARE = 0.5  # not more, because titles and poets' names stand between the verses


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Format of a text in a file, or on standard input.

    ``encoding`` is the canonical name of a text encoding; None means UTF-8. If ``column`` is given, each line is a row of
    tab-separated columns, and this one, counted from 1, is the text. With ``lower`` the text is lower-cased.
    """

    encoding: str | None = None
    column: int | None = None
    lower: bool = False

    def text(self, data: bytes, what: str) -> str:
        r"""Return the text of a file's bytes, whose line ends become ``\n``. Raises TextError; ``what`` names the file."""
        return self.convert(decode(data, what, self.encoding), what)

    def convert(self, text: str, what: str) -> str:
        """Return the selected column of a decoded text, lower-cased if ``lower``. Raises TextError if a line lacks it."""
        text = text.replace("\r\n", EOL).replace("\r", EOL)
        if self.column is not None:
            text = column_of(text, self.column, what)
        return text.lower() if self.lower else text


PLAIN = TextFormat()


def embedded(name: str, text_format: TextFormat = PLAIN) -> Text:
    """Return an embedded text of :func:`fastrnn.corpora.load`. Raises TextError for an unknown name or a missing column."""
    if name not in corpora.names():
        raise TextError(f"{CORPUS}{name} is neither a file nor an embedded text: those are {', '.join(corpora.names())}")
    if text_format.encoding is not None:
        raise TextError(f"--encoding is for files, and {CORPUS}{name} comes with fastrnn")
    return Text(text_format.convert(corpora.load(name), CORPUS + name), (CORPUS + name,))


def read(paths: Iterable[str | Path], text_format: TextFormat = PLAIN) -> Text:
    r"""Return the text of files and folders, one after the other.

    A folder stands for all ``*.txt`` files in it and in the folders below, in the order of their paths. A byte order
    mark at the beginning of a file is dropped, and line ends become ``\n``. A file that does not end in a newline
    gets one if another file follows. Large files are read in blocks, each time the text is iterated. Raises TextError for a
    file that is not in its encoding, for a folder without text, and for fewer than two characters in all. Raises OSError if
    a file cannot be read.
    """
    files = [file for path in paths for file in _files(Path(path))]
    convert = None if text_format.column is None and not text_format.lower else text_format.convert
    if (large := large_text(files, text_format.encoding, convert, by_line=text_format.column is not None)) is not None:
        return large
    parts = [read_file(file, text_format) for file in files]
    joined = "".join(part if part.endswith(EOL) else part + EOL for part in parts[:-1]) + "".join(parts[-1:])
    if len(joined.strip()) < 2:
        fault = "has only one character" if joined.strip() else "has only white space" if joined else "is empty"
        raise TextError(f"{', '.join(map(str, files))} {fault}: there is nothing to learn from")
    return Text(joined, tuple(str(file.absolute()) for file in files))


def find(names: Sequence[str], text_format: TextFormat = PLAIN) -> Text:
    """Return the text that a user names: paths for :func:`read`, or one ``corpus:NAME`` if no file has that name.

    Raises as :func:`read` does.
    """
    return read(names, text_format) if any(Path(name).exists() for name in names) else reread(names, text_format)


def reread(sources: Sequence[str], text_format: TextFormat = PLAIN) -> Text:
    """Return the text of ``Text.sources``, which hold absolute paths of files. Raises as :func:`read` does."""
    if len(sources) == 1 and sources[0].startswith(CORPUS):
        return embedded(sources[0].removeprefix(CORPUS), text_format)
    return read(sources, text_format)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob(f"*{SUFFIX}") if file.is_file())
    if not found:
        raise TextError(f"{path} is a folder without {SUFFIX} files")
    return found


def read_file(path: Path, text_format: TextFormat = PLAIN) -> str:
    """Return the text of one file, in the form of :func:`read`. Raises TextError, OSError."""
    return text_format.text(path.read_bytes(), str(path))


def items(text: str) -> list[str]:
    """Return the items of a text read as lines: the lines that are not blank, without surrounding white space."""
    return [stripped for line in text.split(EOL) if (stripped := line.strip())]


def guess(text: str) -> tuple[str, str]:
    """Return the reading that suits a text, ``"lines"`` or ``"stream"``, and the reason in words for the user.

    A text is read as lines if at least nine tenths of them have at most three words and at most a tenth are blank, such as a
    list of names, words or titles. Everything else is a stream. In scripts without spaces the number of words is estimated
    from the length of a line (:mod:`fastrnn.text._reading.scripts`). The guess reads only the beginning of a long text.
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
    """Guess from the words per line; ``spaceless`` says that some lines are in a script without spaces."""
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
