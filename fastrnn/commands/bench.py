"""``fastrnn bench``: measure the speed on this machine, compared with the installed libraries."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from ..console import is_terminal, note, quantity, say
from .arguments import integer, real
from .errors import UsageError
from .outputs import add_overwrite_option, check_free, check_place

if TYPE_CHECKING:
    from ..benchmark.cases import Case
    from ..benchmark.ceilings import Ceilings
    from ..benchmark.run import Results

DESCRIPTION = """\
Compare the speed of fastrnn with that of the installed libraries. Both sides take turns, at the same sizes and threads, and
their results must agree. GFLOP/s count the products alone: 2 T B G H (I + H) forward, three times that in training, without
padding.
"""


CLEAR = "\r\x1b[K"  # erases the terminal's line


def add_to(subparsers: Any) -> None:
    """Add the command to the parser."""
    from ..benchmark.cases import BATCH, CELLS, HIDDEN, QUESTIONS, SUBSETS
    from ..benchmark.peers import NAMES

    parser = subparsers.add_parser("bench", help="measure the speed, compared with other libraries", description=DESCRIPTION)
    parser.add_argument("--subset", choices=tuple(SUBSETS), default="quick", help="part of the grid (default: quick)")
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=["forward", "training"])
    parser.add_argument("--cells", nargs="+", choices=CELLS, help="default: the subset's")
    parser.add_argument(
        "--hidden",
        nargs="+",
        type=integer(1),
        metavar="H",
        help=f"hidden sizes, such as {HIDDEN[0]} {HIDDEN[1]} (default: the subset's)",
    )
    parser.add_argument(
        "--batch",
        nargs="+",
        type=integer(1),
        metavar="B",
        help=f"batch sizes, such as {BATCH[0]} {BATCH[1]} (default: the subset's)",
    )
    parser.add_argument("--threads", nargs="+", type=integer(1, 256), metavar="N", default=[1, 2], help="default: 1 2")
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=list(NAMES), help="default: all installed ones")
    parser.add_argument("--seconds", type=real(0, above=True), default=0.2, help="for each side of each case (default: 0.2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all results to FILE")
    add_overwrite_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and return 0. Ctrl-C ends it with the table of what was measured."""
    from ..benchmark.machine import describe
    from ..benchmark.measure import Effort
    from ..benchmark.run import Results
    from ..benchmark.run import run as run_cases
    from ..info import obstacle_to

    if arguments.json:
        check_place("--json", arguments.json)
        check_free([arguments.json], arguments.overwrite)
    for name in ("threads", "peers"):
        setattr(arguments, name, list(dict.fromkeys(getattr(arguments, name))))
    wanted = _cases(arguments)
    for precision in dict.fromkeys(case.precision for case in wanted):
        if obstacle := obstacle_to(precision):
            note(f"fastrnn: warning: {precision} is not compared: {obstacle}")
    results = Results()
    results.machine, results.ceilings = describe(), _ceilings(arguments.threads)
    try:
        tell = _progress(len(wanted) * len(arguments.peers))
        run_cases(wanted, arguments.peers, Effort(arguments.seconds), progress=tell, results=results)
    except KeyboardInterrupt:
        _erase_progress()
        if results.records:
            _report(results, wanted, arguments.json)
        raise
    _erase_progress()
    _report(results, wanted, arguments.json)
    return 0


def _cases(arguments: argparse.Namespace) -> list[Case]:
    """Return the cases of the subset with the sizes and cells that were typed."""
    from ..benchmark.cases import cases

    found = cases(arguments.questions, arguments.subset, arguments.threads)
    for option, name, values in (
        ("--cells", "cell", arguments.cells),
        ("--hidden", "H", arguments.hidden),
        ("--batch", "B", arguments.batch),
    ):
        if values and not any(name in _free(case) for case in found):
            raise UsageError(f"{option} must come with questions that do not fix it, got {', '.join(arguments.questions)}")
        if values:
            found = [changed for case in found for changed in _with(case, name, values)]
    return list(dict.fromkeys(found))


def _free(case: Case) -> tuple[str, ...]:
    """Return the fields of a case that its question does not fix."""
    from ..benchmark.cases import GRID_QUESTIONS

    return ("cell", "H", "B") if case.question in GRID_QUESTIONS else ("cell", "H") if case.question == "step" else ()


def _ceilings(threads: Sequence[int]) -> dict[int, Ceilings]:
    """Measure the machine with each number of threads, if the C backend is there."""
    from ..backends import BackendUnavailable
    from ..benchmark.ceilings import measure

    found = {}
    for n in threads:
        note(f"measuring the machine with {quantity(n, 'thread')}")
        try:
            found[n] = measure(n)
        except BackendUnavailable as error:
            note(f"fastrnn: warning: no ceilings, because only the C backend measures them: {error}")
    return found


def _erase_progress() -> None:
    note(CLEAR if is_terminal(sys.stderr) else "", end="")


def _report(results: Results, wanted: Sequence[Case], file: Path | None) -> None:
    """Print the table of the results, and write them to a file."""
    from ..benchmark.table import lines
    from ..serialization import write_atomically

    for line in lines(results, wanted, results.ceilings):
        say(line)
    if file:
        content = {
            "machine": results.machine,
            "ceilings": [c.as_json() for c in results.ceilings.values()],
            "records": results.records,
            "absent": results.absent,
            "refused": results.refused,
        }
        write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())


def _with(case: Case, name: str, values: Sequence[Any]) -> Iterator[Case]:
    """Yield the case with each of the values, or unchanged if its question fixes that size."""
    yield from (replace(case, **{name: value}) for value in values) if name in _free(case) else (case,)


def _progress(total: int) -> Callable[[str, Case | None], None]:
    """Return a callback that overwrites one line on a terminal, or prints a line for each peer elsewhere."""
    done = count(1)

    def tell(peer: str, case: Case | None) -> None:
        if not is_terminal(sys.stderr):
            if case is None:
                note(f"comparing with {peer}")
            return
        text = f"{next(done)}/{total} {peer}: {case.name}" if case else f"starting {peer}"
        note(f"{CLEAR}{text[: get_terminal_size().columns - 1]}", end="")

    return tell
