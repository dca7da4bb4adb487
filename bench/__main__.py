"""Command line of the whole benchmark: ``python -m bench run`` measures and reports, ``report`` only reports.

Results go to a file, one line per comparison. A stopped run continues where it was. ``--questions``, ``--peers`` and
``--threads`` run it in parts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]

os.environ.setdefault("FASTRNN_BENCH_ONEDNN", str(CHECKOUT / "bench" / "onednn"))

from fastrnn.benchmark import ceilings, machine  # noqa: E402
from fastrnn.benchmark.cases import QUESTIONS, SUBSETS, THREADS, Case, cases  # noqa: E402
from fastrnn.benchmark.measure import Effort  # noqa: E402
from fastrnn.benchmark.peers import NAMES  # noqa: E402
from fastrnn.benchmark.run import append, begin, load, run, run_again  # noqa: E402
from fastrnn.commands.arguments import integer, real  # noqa: E402
from fastrnn.commands.errors import InputError  # noqa: E402
from fastrnn.commands.guard import guarded  # noqa: E402
from fastrnn.commands.outputs import check_place  # noqa: E402
from fastrnn.console import note, say  # noqa: E402
from fastrnn.info import install_extra  # noqa: E402


def main() -> None:
    """Run one of the two commands."""
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--file", type=Path, default=CHECKOUT / "build" / "bench.jsonl", help="default: build/bench.jsonl")
    files.add_argument("--out", type=Path, default=CHECKOUT / "docs", help="folder for performance.md (default: docs)")
    program = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = program.add_subparsers(dest="command", required=True)
    commands.add_parser("report", parents=[files], help="write the page from the results in the file")
    parser = commands.add_parser("run", parents=[files], help="measure what is missing in the file, then write the page")
    parser.add_argument("--fresh", action="store_true", help="delete the results in the file")
    parser.add_argument("--subset", choices=tuple(SUBSETS), default="grid", help="default: the whole grid")
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=QUESTIONS, help="default: all")
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=NAMES, help="default: all installed ones")
    parser.add_argument("--threads", nargs="+", type=integer(1, 256), default=THREADS, help="default: 1 2")
    parser.add_argument("--seconds", type=real(0, above=True), default=0.1, help="for each side of each case (default: 0.1)")
    parser.add_argument("--slow-rounds", type=integer(2), default=3, help="turns of calls of more than 50 ms (default: 3)")
    arguments = program.parse_args()
    try:
        from .report import write
    except ModuleNotFoundError as error:
        raise InputError(f"the page needs Matplotlib: {install_extra('bench')} ({error})") from error
    if arguments.out.exists() and not arguments.out.is_dir():
        raise InputError(f"--out must be a folder, got {arguments.out}, which is a file")
    if arguments.command == "run":
        measure(arguments)
    results = load(arguments.file)
    if not results.records:
        reasons = "; ".join(results.not_compared()) or "nothing was compared"
        raise InputError(f"--file {arguments.file} has no measurements, so there is nothing to report: {reasons}")
    write(results, arguments.out)
    say(f"wrote {arguments.out / 'performance.md'}")


def measure(arguments: argparse.Namespace) -> None:
    """Measure the machine, the cases, and the disturbed cases once more."""
    file = arguments.file
    file.parent.mkdir(parents=True, exist_ok=True)
    check_place("--file", file)
    begin(file, machine.describe(), arguments.fresh)
    for threads in dict.fromkeys(arguments.threads):
        append(file, {"ceilings": ceilings.measure(threads).as_json()})

    def tell(peer: str, case: Case | None) -> None:
        note(f"{peer}: {case.name if case else 'starting'}")

    wanted = cases(arguments.questions, arguments.subset, arguments.threads)
    effort = Effort(arguments.seconds, turn=min(0.02, arguments.seconds / 5), slow_rounds=arguments.slow_rounds)
    run(wanted, arguments.peers, effort, file, tell)
    run_again(wanted, arguments.peers, effort, file, tell)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
