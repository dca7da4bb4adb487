"""``fastrnn info``: print what is installed, which kernels run, and how to change them."""

from __future__ import annotations

import argparse
from typing import Any

from ..console import say


def add_to(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = "Print the version, the backends, the instruction set, the threads, and how to change each."
    parser = subparsers.add_parser("info", help="show what is installed and which kernels run", description=text)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the text and return 0."""
    from ..info import text

    say(text())
    return 0
