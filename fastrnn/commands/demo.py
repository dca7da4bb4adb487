"""``fastrnn demo``: in under a minute, train on names, invent new ones, and show the speed compared with NumPy's."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..console import note, quantity, say
from ..threads import get_num_threads
from ._train.runs import fresh_folder
from .arguments import folder, integer
from .outputs import add_overwrite_option

if TYPE_CHECKING:
    from ..benchmark.compare import Record

SECONDS = 0.3  # of timed calls for each side of each case
FIVE = """\
fastrnn trains and runs recurrent networks on the CPU. Five things to type:

  fastrnn demo                     train on names, invent new ones, compare the speed with NumPy's: under a minute
  fastrnn train chars FILE         train on your own text; `train words` and `train jazz` read words and MIDI files
  fastrnn sample RUN               write text with the model in the folder RUN
  fastrnn bench                    compare the speed on this machine with that of the libraries installed here
  fastrnn info                     show which kernels run, and how to change that

fastrnn --help lists all commands, and fastrnn COMMAND --help the options of one."""

NEXT = (
    ("fastrnn sample {out} --prefix Tri", "go on with a beginning of yours"),
    ("fastrnn train chars FILE", "train on a text of yours"),
    ("fastrnn bench", "compare more sizes and more libraries"),
    ('python -c "import fastrnn; help(fastrnn)"', "read about the layers, which take the place of torch.nn's"),
)


def add_to(subparsers: Any, execute: Callable[[Sequence[str]], int]) -> None:
    """Add the command to the parser. ``execute`` runs the command line of another one and returns its exit status."""
    text = "Train on names, invent new ones, and compare the speed with NumPy's, in under a minute."
    parser = subparsers.add_parser("demo", help="show in a minute what it does", description=text)
    parser.add_argument(
        "--out", type=folder, metavar="RUN", help="folder of the run (default: runs/demo, or a numbered one)"
    )
    parser.add_argument("--max-steps", type=integer(1), metavar="N", help="training steps (default: those of train chars)")
    add_overwrite_option(parser)
    parser.set_defaults(run=run, execute=execute)


def run(arguments: argparse.Namespace) -> int:
    """Run two commands as a user would type them, then compare the speed; return 0, or the status of a failed command."""
    out = arguments.out or fresh_folder([], "demo", "demo")
    options = ["--max-steps", str(arguments.max_steps)] if arguments.max_steps else []
    options += ["--overwrite"] if arguments.overwrite else []
    for words in (["train", "chars", *options, "--out", str(out)], ["sample", str(out), "--number", "8", "--seed", "1"]):
        say(f"\n$ fastrnn {shlex.join(words)}")
        status: int = arguments.execute(words)
        if status:
            return status
    threads = quantity(get_num_threads(), "thread")
    say(f"\nOne layer of 128 units, 100 time steps of 8 sequences, {threads}. Both sides take turns, and")
    say("their results agree. Milliseconds, medians:\n")
    for line in table(_records()):
        say(line)
    say("\nWhere to go next:\n")
    for command, use in NEXT:
        say(f"  {command.format(out=shlex.quote(str(out))):<44}{use}")
    return 0


def table(records: Iterator[Record]) -> Iterator[str]:
    """Yield a line for each record as it comes: the times of both sides in ms, and their ratio."""
    yield f"{'':<16}{'NumPy':>10}{'fastrnn':>10}   fastrnn is"
    for record in records:
        theirs, ours = 1e3 * record.theirs.median, 1e3 * record.ours.median
        name = f"{record.case.cell} {record.case.question}"
        yield f"{name:<16}{theirs:>10.3g}{ours:>10.3g}   {record.ratio:.1f} times as fast"


def _records() -> Iterator[Record]:
    """Compare a forward pass and a training step of each cell with NumPy's."""
    from ..benchmark.agreement import Disagreement
    from ..benchmark.cases import CELLS, Case
    from ..benchmark.compare import compare
    from ..benchmark.measure import Effort
    from ..benchmark.peers import Absent, WrongThreads, load
    from ..benchmark.peers.fastrnn_peer import PEER as OURS

    threads, numpy = get_num_threads(), load("numpy")
    with suppress(Absent):  # without threadpoolctl, NumPy's BLAS keeps its default: a thread for each core, as here
        numpy.use_threads(threads)
    for cell in CELLS:
        for question in ("forward", "training"):
            try:
                yield compare(OURS, numpy, Case(question, cell, 128, 8, threads), Effort(SECONDS))
            except (Disagreement, WrongThreads) as error:
                note(f"fastrnn: warning: {cell} {question} is not compared: {error}")
