"""The command line: ``fastrnn demo``, ``train``, ``sample``, ``score``, ``improvise``, ``launch``, ``bench``, ``info``.

Every error is one line on standard error. The exit status is 0 for success, 2 for bad usage or input, 1 for a failure during
the work (a full disk, a gradient that is not finite), and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .commands import bench, demo, improvise, info, launch, sample, score, train
from .commands.errors import UsageError, as_typed
from .commands.guard import guarded
from .console import note, say
from .distributed.agreement import common, is_common
from .distributed.world import first_rank

DESCRIPTION = "Train recurrent networks on the CPU, sample from them and measure them."


class Parser(argparse.ArgumentParser):
    """A parser that takes options anywhere among a command's arguments and prints errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message in one line and exit with status 2."""
        if first_rank():
            note(f"fastrnn: error: {message}")
        raise SystemExit(2)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help. argparse itself would ignore a full disk."""
        print(message, end="", file=file or sys.stderr)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse a command's options first, then its positional arguments; after ``--`` nothing is an option.

        argparse alone refuses positional arguments that follow an option, because it takes all that it can where it meets
        the first one. Its ``parse_intermixed_args`` works neither with subcommands nor, in Python 3.11, with ``--``.
        """
        parse = argparse.ArgumentParser.parse_known_args
        words = sys.argv[1:] if args is None else list(args)
        if any(action.nargs == argparse.REMAINDER for action in self._actions):  # a command with options of its own
            namespace, left = parse(self, words, namespace)
            namespace.options = frozenset(self._option_string_actions)
            return namespace, left
        if self._subparsers is not None:  # the subcommand parses the rest of the line
            self._check_first(words)
            return parse(self, words, namespace)
        end = words.index("--") if "--" in words else len(words)
        namespace, left = parse(self._only(options=True), words[:end], namespace)
        namespace.options = frozenset(self._option_string_actions)
        return parse(self._only(options=False), left + words[end:], namespace)

    def _check_first(self, words: list[str]) -> None:
        """Refuse a missing command, and an option before it, because argparse would take its value for the command."""
        assert self._subparsers is not None
        if not words:
            (commands,) = self._subparsers._group_actions
            names = ", ".join(commands.choices or ())
            self.error(f"{self.prog} needs a {commands.metavar}: {names} (see {self.prog} --help)")
        first = words[0]
        own = any(option.startswith(first) for option in self._option_string_actions)
        if first.startswith("-") and first != "--" and not own:
            metavar = self._subparsers._group_actions[0].metavar
            self.error(f"options come after {metavar}, got {first} before it: type {self.prog} {metavar} {first} ...")

    def _only(self, *, options: bool) -> Parser:
        """Return a copy of the parser with the options alone, or with the positional arguments alone."""
        part = copy.copy(self)
        part._actions = [action for action in self._actions if bool(action.option_strings) == options]
        part.print_help = self.print_help  # type: ignore[method-assign]  # help shows all arguments
        return part


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each command sets ``run`` to the function that runs it."""
    parser = Parser(prog="fastrnn", description=DESCRIPTION)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    training = commands.add_parser("train", help="train a model", description="Train a model.")
    train.add_to(training.add_subparsers(title="what to train", required=True, metavar="KIND"))
    for command in (sample, score, improvise, bench, info):
        command.add_to(commands)
    demo.add_to(commands, execute=_run)
    launch.add_to(commands, check=lambda words: build_parser().parse_args(words))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; without words, say what to type."""
    return guarded(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    if not (sys.argv[1:] if argv is None else argv):
        say(demo.FIVE)
        return 0
    arguments = build_parser().parse_args(argv)
    arguments.typed = sys.argv[1:] if argv is None else list(argv)  # errors suggest a corrected command
    try:
        return int(arguments.run(arguments))
    except ValueError as error:
        message = as_typed(error, arguments.options)
        if message is None:
            raise
        typed = UsageError(message)
        raise (common(typed) if is_common(error) else typed) from error
