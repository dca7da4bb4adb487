"""``fastrnn info``: what is installed, what would run, and how to change it."""

from __future__ import annotations

import argparse
from typing import Any

from ..console import say


def add_to(subparsers: Any) -> None:
    """Add the command."""
    text = "Print the version, the backends, the instruction set, the threads, and how to change each."
    parser = subparsers.add_parser("info", help="what is installed and what would run", description=text)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it; 0."""
    from ..info import text

    say(text())
    return 0
