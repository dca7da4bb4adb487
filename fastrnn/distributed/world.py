"""The processes that were started together, and their shares of the processors."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from .. import threads
from . import heartbeat
from .agreement import common, is_common, together
from .communicator import SOLO, Communicator

# Set in each process by mpiexec (MPICH, Intel; Open MPI) and by Slurm's srun.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")

BIND = "FASTRNN_BIND"  # environment variable that fastrnn launch sets

_world: Communicator | None = None


class MpiError(RuntimeError):
    """MPI is missing, or does not fit the program that started the ranks."""


def started() -> int:
    """Return how many processes were started together; 1 outside mpiexec, srun and ``fastrnn launch``."""
    return _from_environment(SIZES, 1)


def first_rank() -> bool:
    """Return whether this process is rank 0, without starting MPI."""
    return started() == 1 or _from_environment(RANKS, 0) == 0


def _from_environment(names: tuple[str, ...], otherwise: int) -> int:
    found = (os.environ.get(name, "") for name in names)
    return next((int(text) for text in found if text.isdecimal()), otherwise)


def world() -> Communicator:
    """Return the communicator of all processes that were started together.

    The first call starts MPI if there are several processes, and gives each its share of the processors, unless
    ``FASTRNN_NUM_THREADS`` says how many threads to use. An error that nobody catches then ends all ranks. Raises MpiError
    if mpi4py is missing or its MPI is not that of mpiexec.
    """
    global _world
    if _world is None:
        launched = heartbeat.start(_from_environment(RANKS, 0))  # a single process may have a launcher, too
        _world = SOLO if started() == 1 else _start()
        if launched or _world.size > 1:
            sys.excepthook = _Hook(_world)
    return _world


def _start() -> Communicator:
    from .mpi import MpiCommunicator

    try:
        communicator: Communicator = MpiCommunicator()
    except (ImportError, RuntimeError) as error:
        raise common(MpiError(f'several processes need MPI: pip install "fastrnn[mpi]" (mpi4py: {error})')) from error
    if communicator.size != started():
        counts = f"{started()} processes were started, but MPI counts {communicator.size}"
        raise common(MpiError(f"{counts}: mpiexec and mpi4py must use one MPI"))
    with together(communicator):  # a setting of the environment may be invalid
        _divide_processors(communicator)
    return communicator


def _divide_processors(communicator: Communicator) -> None:
    """Set the number of threads: this rank's processors, divided by the ranks that share them.

    ``fastrnn launch`` also asks to bind each rank to processors of its own, if there are enough.
    """
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    mine = [communicator.host, processors]
    found = communicator.gather(mine)
    sharing, place = found.count(mine), found[: communicator.rank].count(mine)
    if not os.environ.get("FASTRNN_NUM_THREADS"):
        threads.set_num_threads(max(1, len(processors) // sharing))
    own = threads.get_num_threads()
    if os.environ.get(BIND) and own * sharing <= len(processors) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors[own * place : own * (place + 1)])


def end_all_ranks(status: int) -> None:
    """End the other ranks too, with this exit status, if there are any."""
    heartbeat.end(status, all_ranks=True)
    if _world is not None and _world.size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        _world.abort(status)


class _Hook:
    """Hook for errors that nobody catches: print them (if all ranks raise them, only on rank 0), and end all ranks."""

    def __init__(self, communicator: Communicator) -> None:
        self._communicator, self._print = communicator, sys.excepthook

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not is_common(error) or self._communicator.rank == 0:
            self._print(kind, error, trace)
        if is_common(error):
            heartbeat.end(1)
        else:
            end_all_ranks(130 if issubclass(kind, KeyboardInterrupt) else 1)
