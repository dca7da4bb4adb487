"""``fastrnn bench``: how fast fastrnn is here, beside the libraries that are installed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .arguments import integer, real
from .notes import note

DESCRIPTION = """\
Measure fastrnn beside the libraries that are installed here: they take turns, at the same sizes and threads, after their
results have been found to agree. GFLOP/s count the products alone: 2 T B G H (I + H) forward, three times that training.
"""


def add_to(subparsers: Any) -> None:
    """Add the command."""
    from ..benchmark.cases import BATCH, CELLS, HIDDEN, SUBSETS
    from ..benchmark.peers import NAMES

    parser = subparsers.add_parser("bench", help="how fast it is here, beside its peers", description=DESCRIPTION)
    parser.add_argument("--subset", choices=tuple(SUBSETS), default="quick", help="of the grid (default: quick)")
    parser.add_argument("--questions", nargs="+", choices=("forward", "training", "step"), default=["forward", "training"])
    parser.add_argument("--cells", nargs="+", choices=CELLS, help="default: the subset's")
    parser.add_argument("--hidden", nargs="+", type=integer(1), metavar="H", help=f"of {HIDDEN}, or any (default: the subset's)")
    parser.add_argument("--batch", nargs="+", type=integer(1), metavar="B", help=f"of {BATCH}, or any (default: the subset's)")
    parser.add_argument("--threads", nargs="+", type=integer(1, 256), metavar="N", default=[1, 2], help="default: 1 2")
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=list(NAMES), help="default: all that are installed")
    parser.add_argument("--seconds", type=real(0, above=True), default=0.2, help="for each side of each case (default: 0.2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0."""
    from itertools import product

    from ..benchmark.cases import SUBSETS, Case
    from ..benchmark.measure import Effort
    from ..benchmark.run import run as run_cases
    from ..benchmark.table import lines

    cells, hidden, batch = SUBSETS[arguments.subset]
    sizes = product(
        arguments.questions, arguments.threads, arguments.cells or cells, arguments.hidden or hidden, arguments.batch or batch
    )
    cases = [Case(question, cell, H, B, threads) for question, threads, cell, H, B in sizes]

    def progress(peer: str, case: Case | None) -> None:
        note(f"{peer}: {case.name if case else 'starting'}")

    results = run_cases(cases, arguments.peers, Effort(arguments.seconds), progress=progress)
    for line in lines(results, cases):
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps({"records": results.records, "absent": results.absent}, indent=1))
    return 0
