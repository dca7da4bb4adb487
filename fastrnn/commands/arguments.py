"""Types of arguments, and the options that several commands share."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from .. import backends
from .._core.checks import describe
from .._core.precision import PRECISIONS, set_float32_matmul_precision
from ..console import note
from .errors import UsageError

LARGEST = 2**31 - 1  # limit of every size and count


def integer(smallest: int, largest: int = LARGEST) -> Callable[[str], int]:
    """Return an argparse type: an integer from ``smallest`` to ``largest``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = smallest - 1
        if value < smallest:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {smallest}, got {describe(text)}")
        if value > largest:
            raise argparse.ArgumentTypeError(f"must be an integer of at most {largest}, got {describe(text)}")
        return value

    return parse


seed = integer(0, 2**64 - 1)


def real(low: float, high: float = math.inf, *, above: bool = False, below: bool = False) -> Callable[[str], float]:
    """Return an argparse type: a finite number in [low, high], except low if ``above``, except high if ``below``."""
    bounds = [f"{'above' if above else 'at least'} {low:g}"]
    if high < math.inf:
        bounds.append(f"{'below' if below else 'at most'} {high:g}")
    wanted = " and ".join(bounds)

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        low_enough = value < high if below else value <= high
        high_enough = value > low if above else value >= low
        if not (math.isfinite(value) and low_enough and high_enough):
            raise argparse.ArgumentTypeError(f"must be a number {wanted}, got {text!r}")
        return value

    return parse


def folder(text: str) -> Path:
    """Return the path of a folder; an argparse type. An empty one, as of a shell's unset variable, is an error."""
    if not text:
        raise argparse.ArgumentTypeError("must be a folder, got ''")
    return Path(text)


def metre(text: str) -> tuple[int, int]:
    """Parse a metre such as ``3/4`` into numerator and denominator; an argparse type."""
    match = re.fullmatch(r"0*([1-9]|[12]\d|3[0-2])/(2|4|8|16)", text.strip(), re.ASCII)
    if not match:
        wanted = "a metre such as 3/4 or 6/8, of 1 to 32 halves (2), quarters (4), eighths (8) or sixteenths (16)"
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {describe(text)}")
    return int(match[1]), int(match[2])


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``, ``--backend`` and ``--precision``."""
    group = parser.add_argument_group("machine")
    group.add_argument("--threads", type=integer(1), metavar="N", help="threads of the kernels (default: one per core)")
    group.add_argument("--backend", choices=backends.NAMES, help="implementation of the kernels (default: the fastest one)")
    text = "precision of the layers' products: highest, float32 (default); high, as accurate; medium, bfloat16"
    group.add_argument("--precision", choices=PRECISIONS, help=text)


def apply_machine_options(arguments: argparse.Namespace) -> None:
    """Set the threads, the backend and the precision. Raises UsageError, SettingError and BackendUnavailable."""
    if arguments.threads is not None:
        import fastrnn

        try:
            fastrnn.set_num_threads(arguments.threads)
        except ValueError as error:
            raise UsageError(f"argument --threads: {error}") from error
    if arguments.backend is not None:
        backends.use_backend(arguments.backend)
    if arguments.precision is not None:
        _apply_precision(arguments.precision)
    backends.current()


def _apply_precision(precision: str) -> None:
    """Set the precision, and warn if even a large layer does not run in it. Raises SettingError and BackendUnavailable."""
    from ..info import obstacle_to

    set_float32_matmul_precision(precision)
    if obstacle := obstacle_to(precision):
        note(f"fastrnn: warning: --precision {precision} runs as highest: {obstacle}")
