"""Printing to standard output and standard error, whatever state they are in.

Either stream may be missing (``sys.stdout`` is None under pythonw, in services, after ``>&-``), closed, or unable to encode
a character. The package prints through :func:`say` and :func:`note`. Commands run between :func:`attached` and
:func:`settle`, so they may also use ``print``.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any


def say(text: str = "") -> None:
    """Print a line to standard output at once, if that exists. Raises OSError, such as for a closed pipe."""
    _print(f"{text}\n")


def note(text: str, end: str = "\n") -> None:
    """Flush standard output, then print to standard error. Text that standard error refuses is dropped.

    Raises OSError for standard output, as :func:`say` does.
    """
    _print("")
    with suppress(OSError):
        _write(sys.stderr, f"{text}{end}")


def quantity(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``"1 song"`` or ``"1,234 songs"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_terminal(stream: Any) -> bool:
    """Return whether a standard stream, which may be None or closed, is a terminal."""
    return not _absent(stream) and hasattr(stream, "isatty") and bool(stream.isatty())


def _print(text: str) -> None:
    try:
        _write(sys.stdout, text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def _absent(stream: Any) -> bool:
    return stream is None or bool(getattr(stream, "closed", False))


def _write(stream: Any, text: str) -> None:
    r"""Write and flush; characters that the stream's encoding lacks become escapes such as ``\xe9``."""
    if _absent(stream):
        return
    encoding = getattr(stream, "encoding", None)
    if isinstance(encoding, str):
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    if text:
        stream.write(text)
    if hasattr(stream, "flush"):
        stream.flush()


@contextmanager
def attached() -> Iterator[None]:
    """Open empty streams in place of missing standard streams, and let no stream fail on a character.

    Otherwise the next file that is opened would take a descriptor from 0 to 2, and libraries would print into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number, which is this one
    with ExitStack() as stack:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            stream = getattr(sys, name)
            if _absent(stream):
                stack.callback(setattr, sys, name, stream)
                setattr(sys, name, stack.enter_context(open(os.devnull, mode, encoding="utf-8")))
            elif isinstance(stream, io.TextIOWrapper) and mode == "w":
                stream.reconfigure(errors="backslashreplace")
        yield


def settle(stream: Any) -> OSError | None:
    """Flush a stream and return the error, if any.

    Text that cannot be written is dropped, so Python does not fail on it at exit.
    """
    try:
        _write(stream, "")
    except OSError as error:
        with suppress(OSError):  # a stream without a descriptor
            _discard(stream.fileno())
        return error
    return None


def _discard(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
