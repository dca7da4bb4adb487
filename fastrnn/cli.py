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

from ._core.version import __version__
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
            return parse(self, self._command_first(words), namespace)
        end = words.index("--") if "--" in words else len(words)
        namespace, left = parse(self._only(options=True), words[:end], namespace)
        namespace.options = frozenset(self._option_string_actions)
        return parse(self._only(options=False), left + words[end:], namespace)

    def _command_first(self, words: list[str]) -> list[str]:
        """Move the command before the options that it has, because argparse would take an option's value for the command.

        A missing command, and options before it that it does not have, are errors.
        """
        assert self._subparsers is not None
        (commands,) = self._subparsers._group_actions
        choices: Any = commands.choices
        if not words:
            self.error(f"{self.prog} needs a {commands.metavar}: {', '.join(choices)} (see {self.prog} --help)")
        first = words[0]
        own = any(option.startswith(first) for option in self._option_string_actions)
        if not first.startswith("-") or first == "--" or own:
            return words
        for place, word in enumerate(words):
            if word in choices and any(parser._are_options(words[:place]) for parser in choices[word]._leaves()):
                return [word, *words[:place], *words[place + 1 :]]
        metavar = commands.metavar
        self.error(f"options come after {metavar}, got {first} before it: type {self.prog} {metavar} {first} ...")

    def _leaves(self) -> list[Parser]:
        """Return the parsers of all commands of this one, or itself if it has none."""
        if self._subparsers is None:
            return [self]
        choices: Any = self._subparsers._group_actions[0].choices
        return [leaf for parser in choices.values() for leaf in parser._leaves()]

    def _are_options(self, words: list[str]) -> bool:
        """Return True if these words are options of this parser, each with its values."""
        place = 0
        while place < len(words):
            name, sign, _ = words[place].partition("=")
            full = [option for option in self._option_string_actions if option.startswith(name) and name.startswith("--")]
            action = self._option_string_actions.get(name if name in self._option_string_actions else next(iter(full), ""))
            if action is None:
                return False
            place += 1
            if action.nargs is None and not sign:
                place += 1
            while action.nargs not in (None, 0) and place < len(words) and not words[place].startswith("-"):
                place += 1
        return place == len(words)

    def _only(self, *, options: bool) -> Parser:
        """Return a copy of the parser with the options alone, or with the positional arguments alone."""
        part = copy.copy(self)
        part._actions = [action for action in self._actions if bool(action.option_strings) == options]
        part.print_help = self.print_help  # type: ignore[method-assign]  # help shows all arguments
        return part


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each command sets ``run`` to the function that runs it."""
    parser = Parser(prog="fastrnn", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"fastrnn {__version__}")
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
