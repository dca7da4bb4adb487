"""Text from files and folders, and how to read it: as lines, each an item, or as one stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import corpora
from .vocabulary import EOL

READINGS = ("lines", "stream")
SUFFIX = ".txt"
CORPUS = "corpus:"

# A list has lines of a few words; prose, plays and code have longer ones, or blank lines between their parts.
ITEM_WORDS = 3
ITEM_SHARE = 0.9
BLANK_SHARE = 0.1


class TextError(ValueError):
    """A text that cannot be used: not UTF-8, empty, too short; the message names the file and the fault."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text and where it is from: ``sources`` are paths, or ``corpus:NAME`` for an embedded one."""

    content: str
    sources: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """The hash of the content, in hexadecimal: the same text has the same hash wherever it lies."""
        return hashlib.sha256(self.content.encode("utf-8")).hexdigest()


def embedded(name: str) -> Text:
    """The text of :func:`fastrnn.corpora.load`. Raises TextError for an unknown name."""
    if name not in corpora.names():
        raise TextError(f"{CORPUS}{name} is neither a file nor an embedded text: those are {', '.join(corpora.names())}")
    return Text(corpora.load(name), (CORPUS + name,))


def read(paths: Iterable[str | Path]) -> Text:
    """The text of files and folders, one after the other, in UTF-8.

    A folder stands for all ``*.txt`` files in it and in the folders below, in the order of their paths. A byte order
    mark at the beginning of a file is dropped, and line ends become ``\\n``. A file that does not end in a newline
    gets one when another follows. Raises TextError for a text that is not UTF-8, for a folder without text, and for
    fewer than two characters in all; OSError where a file cannot be read.
    """
    files = [file for path in paths for file in _files(Path(path))]
    parts = [read_file(file) for file in files]
    joined = "".join(part if part.endswith(EOL) else part + EOL for part in parts[:-1]) + "".join(parts[-1:])
    if len(joined.strip()) < 2:
        fault = "has only one character" if joined.strip() else "has only white space" if joined else "is empty"
        raise TextError(f"{', '.join(map(str, files))} {fault}: there is nothing to learn from")
    return Text(joined, tuple(str(file.absolute()) for file in files))


def find(names: Sequence[str]) -> Text:
    """The text that a user means: paths as for :func:`read`, or one ``corpus:NAME``, unless there is a file of that name.

    Raises as :func:`read` does.
    """
    return read(names) if any(Path(name).exists() for name in names) else reread(names)


def reread(sources: Sequence[str]) -> Text:
    """The text of :attr:`Text.sources`, where every file has its absolute path. Raises as :func:`read` does."""
    if len(sources) == 1 and sources[0].startswith(CORPUS):
        return embedded(sources[0].removeprefix(CORPUS))
    return read(sources)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob(f"*{SUFFIX}") if file.is_file())
    if not found:
        raise TextError(f"{path} is a folder without {SUFFIX} files")
    return found


def read_file(path: Path) -> str:
    """The text of one file, as :func:`read` takes it. Raises TextError for what is not UTF-8, OSError."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = "; it looks like UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise TextError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start} ({error.reason}){hint}"
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", EOL).replace("\r", EOL)


def items(text: str) -> list[str]:
    """The items of a text read as lines: each line without the white space around it, blank ones left out."""
    return [stripped for line in text.split(EOL) if (stripped := line.strip())]


def guess(text: str) -> tuple[str, str]:
    """The reading that suits a text, ``"lines"`` or ``"stream"``, and why, in words for the user.

    Lines when at least nine tenths of them have at most three words, with no more than a tenth of blank lines between
    them: a list of names, words, titles. Everything else is a stream.
    """
    lines = text.rstrip(EOL).split(EOL)
    filled = items(text)
    blank = 1 - len(filled) / len(lines)
    short = sum(len(item.split()) <= ITEM_WORDS for item in filled) / max(1, len(filled))
    if len(filled) < 2:
        return "stream", "it has only one line"
    if blank > BLANK_SHARE:
        return "stream", f"{blank:.0%} of its {len(lines):,} lines are blank"
    why = f"{short:.0%} of its {len(filled):,} lines have at most {ITEM_WORDS} words"
    return ("lines" if short >= ITEM_SHARE else "stream"), why
