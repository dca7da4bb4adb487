"""The command line: ``fastrnn train``, ``sample``, ``score``, ``improvise``, ``bench``, ``info``.

Every error is one line on standard error. The exit status is 0, 2 for bad usage or input, 1 when something failed on
the way (a full disk, a gradient that is not finite), 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from .commands import bench, improvise, info, sample, score, train_jazz, train_text

DESCRIPTION = "Train recurrent networks on the CPU, sample from them and look at them."


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, in the same form for every command."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        print(f"fastrnn: error: {message}", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run`` to the function that does it."""
    parser = Parser(prog="fastrnn", description=DESCRIPTION)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a model", description="Train a model.")
    kinds = train.add_subparsers(title="what to train", required=True, metavar="KIND")
    train_text.add_to(kinds)
    train_jazz.add_to(kinds)
    for command in (sample, score, improvise, bench, info):
        command.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a text may have characters that the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as error:  # argparse: 0 after --help, 2 after a usage error
        return error.code if isinstance(error.code, int) else 2
    arguments.typed = sys.argv[1:] if argv is None else list(argv)  # errors say what to type instead
    return _guarded(lambda: int(arguments.run(arguments)))


def _guarded(run: Callable[[], int]) -> int:
    """Run, and turn what a user can meet into one line and an exit status; anything else is a bug and stays loud."""
    from .commands.errors import expected

    try:
        status = run()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("fastrnn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `fastrnn sample RUN | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        status, message = expected(error)
        if status == 0:
            raise
        print(f"fastrnn: error: {message}", file=sys.stderr)
        return status
