"""Shared by the programs of bench/: a line on the machine, Markdown tables, options that choose them, child processes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from fastrnn.benchmark import machine
from fastrnn.commands.arguments import integer, real

Row = tuple[str, ...]


def machine_line(**versions: str) -> str:
    """Return a line on this machine, with the versions of other packages."""
    found = machine.describe() | versions
    return ", ".join(f"{key} {found[key]}" for key in ("processor", "processors", "isa", *versions) if key in found)


def show(table: Iterator[Row]) -> None:
    """Print the head of a table, then its rows as they come."""
    for number, row in enumerate(table):
        print(f"| {' | '.join(row)} |", flush=True)
        if number == 0:
            print("|" + " --- |" * len(row), flush=True)


def question_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser for the names of tables, the numbers of threads, and the seconds of a measurement."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("questions", nargs="*", help="default: all", metavar="QUESTION")
    add_effort(parser)
    return parser


def add_effort(parser: argparse.ArgumentParser) -> None:
    """Add the options for the numbers of threads and the seconds of a measurement."""
    parser.add_argument("--threads", nargs="+", type=integer(1, 256), default=[1, 2])
    parser.add_argument("--seconds", type=real(0, above=True), default=0.5, help="for each side of each case (default: 0.5)")


def chosen(parser: argparse.ArgumentParser, given: Collection[str], questions: Collection[str]) -> list[str]:
    """Return the given questions, or all if none is given. Ends the program if one is unknown."""
    unknown = set(given) - set(questions)
    if unknown:
        parser.error(f"QUESTION must be one of {', '.join(questions)}, got {', '.join(sorted(unknown))}")
    return list(given or questions)


def run_program(name: str, *arguments: str, **options: Any) -> None:
    """Run ``python -m bench.NAME`` in a process of its own. If it fails, it has printed why, and this process ends too."""
    output_of([sys.executable, "-m", f"bench.{name}", *arguments], **{"stdout": None, **options})


def output_of(words: Sequence[str], **options: Any) -> str:
    """Run a program and return its output. If it fails, it has printed why, and this process ends too."""
    done = subprocess.run(words, check=False, text=True, **{"stdout": subprocess.PIPE, **options})
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout
