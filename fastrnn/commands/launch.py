"""``fastrnn launch``: run a command on several processes, on this machine or on several, and restart it if one dies."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..console import note
from ..distributed.world import BIND
from ._launch.mpi_program import environment_of, layout, mpiexec, require_program, require_reachable
from ._launch.supervision import StopRequests, supervise
from .arguments import integer
from .errors import UsageError

MOST_RANKS = 4096
DESCRIPTION = """Run a command on N processes, which train one model together, and watch over them.

The command is "train ..." or any program, such as "python train.py", that calls fit(..., distributed=True) or
fastrnn.distributed.average_gradients. If a process dies or hangs, all are ended, and restarted from the last checkpoint
up to --max-restarts times. Ctrl-C saves and ends all."""


def add_to(subparsers: Any, check: Callable[[Sequence[str]], object]) -> None:
    """Add the command. ``check`` parses the command line of another one, and exits if it is wrong."""
    parser = subparsers.add_parser(
        "launch",
        help="train on several processes or machines",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-n", "--ranks", type=integer(1, MOST_RANKS), default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument(
        "--hosts", metavar="A,B", help="machines, reached by ssh without a password (default: this one); each needs fastrnn "
        "and the files under the same paths"
    )  # fmt: skip
    parser.add_argument(
        "--threads-per-rank", type=integer(1, 256), metavar="K", help="threads of each process (default: cores / ranks)"
    )
    parser.add_argument(
        "--max-restarts", type=integer(0), default=0, metavar="K", help="restarts after the death of a process (default: 0)"
    )
    parser.add_argument("--no-bind", action="store_true", help="do not bind processes to cores of their own")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="train ..., or a program")
    parser.set_defaults(run=run, check=check)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UsageError("COMMAND is missing: type fastrnn launch -n 2 train chars FILE")
    if command[0] == "train":
        arguments.check(command)  # so that a wrong option is reported once, before any rank starts
    ranks = layout(arguments.ranks, arguments.hosts, arguments.threads_per_rank)
    program = mpiexec()
    if command[0] != "train":
        require_program(ranks, command[0])
    require_reachable(ranks.remote)
    environment = {**environment_of(ranks), **os.environ, "FASTRNN_NUM_THREADS": str(ranks.threads)}
    if arguments.no_bind:
        environment.pop(BIND, None)
    stop, restarts, start = StopRequests(), 0, _offset(0)
    with stop.counted():
        while True:
            end = supervise(program, command, environment, ranks, stop)
            if end.fault:
                note(f"fastrnn: error: {end.fault}")
            if not end.fault or stop.count or restarts == arguments.max_restarts:
                return end.status
            restarts += 1
            if start is not None:  # a restarted program reads a file again
                os.lseek(0, start, os.SEEK_SET)
            note(f"fastrnn: restart {restarts} of {arguments.max_restarts} from the last checkpoint")
            command = resumed(command, end.out)


def _offset(descriptor: int) -> int | None:
    """Return the offset in a file, or None for a pipe, a terminal or a closed descriptor."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError:
        return None


def resumed(command: Sequence[str], out: str | None) -> list[str]:
    """Return the command that resumes from the last checkpoint in ``out``; without a checkpoint, the command itself.

    A program other than ``train`` is run again unchanged, because ``fit(..., resume=True)`` resumes by itself.
    """
    words = list(command)
    if words[0] != "train" or out is None or not (Path(out) / "config.json").exists() or "--resume" in words:
        return words
    words = [word for word in words if not (word.startswith("--ov") and "--overwrite".startswith(word))]
    place = words.index("--out") if "--out" in words else None
    if place is not None:
        del words[place : place + 2]
    words = [word for word in words if not word.startswith("--out=")]
    return [*words[:2], "--resume", "--out", out, *words[2:]]
