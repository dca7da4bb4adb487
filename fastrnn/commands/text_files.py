"""Options and errors of the commands that read text."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .arguments import integer
from .errors import InputError, explain


def encoding(name: str) -> str:
    """Return the canonical name of a text encoding; an argparse type."""
    from ..text._reading.decoding import text_encoding

    try:
        return text_encoding(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("encoding ")) from None


def add_file_options(group: Any) -> None:
    """Add ``--encoding`` and ``--column``."""
    group.add_argument("--encoding", type=encoding, metavar="NAME", help="encoding, such as cp1252 (default: utf-8)")
    group.add_argument("--column", type=integer(1), metavar="N", help="read only the Nth column of lines with tabs, from 1")


@contextmanager
def reading(arguments: argparse.Namespace) -> Iterator[None]:
    """Turn errors of reading text into one line, with the command to type if the encoding can be guessed.

    Raises InputError for a file that cannot be read, TextError for a file that is not text.
    """
    from ..text._reading.decoding import EncodingError

    try:
        yield
    except OSError as error:
        raise InputError(explain(error)) from error
    except EncodingError as error:
        if error.likeliest is None:
            raise
        raise InputError(f"{error}, so type: {command_with(arguments.typed, '--encoding', error.likeliest)}") from error


def command_with(typed: list[str], option: str, value: str) -> str:
    """Return the typed command, quoted for a shell, with an option set to another value."""
    end = typed.index("--") if "--" in typed else len(typed)
    words = iter(typed[:end])
    others = []
    for word in words:
        if word == option:
            next(words, None)
        elif not word.startswith(f"{option}="):
            others.append(word)
    return shlex.join(["fastrnn", *others, option, value, *typed[end:]])
