"""The supervision of one run of all ranks: it ends when they end, when one of them dies or hangs, or at Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import NamedTuple

from ...console import note
from ...distributed.heartbeat import ADDRESS
from .connections import Connections
from .mpi_program import Layout, command_line, standard_input
from .output import Output

TICK = 0.1
SETTLED = 0.5  # seconds for a rank's report that it ended all ranks, after one has ended
REPORTED = 5.0  # seconds for the report how a rank ended, which comes at once unless its parent process was killed
STARTED = 60.0  # seconds in which all ranks start, once the first one has
ENDS_IN = 2.0  # seconds that ranks get to end by themselves


@dataclass(frozen=True)
class End:
    """How a run ended: its exit status, and the fault if a rank died or hung. ``out`` is the run folder if it is known."""

    status: int
    fault: str | None
    out: str | None


class Fault(NamedTuple):
    """The line about a rank that died, hung or did not start, and the exit status for it."""

    message: str
    status: int = 1


def supervise(
    program: str, command: Sequence[str], environment: Mapping[str, str], layout: Layout, stop: StopRequests
) -> End:
    """Run a command on all ranks by mpiexec, which is ``program``, and return how it ended; no rank is left.

    Raises OSError if output was lost and all else succeeded.
    """
    connections, output, source = Connections(layout.remote), Output(), standard_input(layout, command)
    process = subprocess.Popen(
        command_line(program, layout, command, output.options, source),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that Ctrl-C reaches the launcher alone, which lets the ranks save
        env={**environment, ADDRESS: connections.address},
        pass_fds=(*output.descriptors, source),
    )
    os.close(source)
    assert process.stdout is not None
    output.start(process.stdout, sys.stdout, sys.stderr)
    fault = None
    try:
        fault = _watch(process, connections, layout.ranks, stop)
    finally:
        processes = [rank.process for rank in connections.ranks.values()]
        connections.close()
        _end(process, [known.pid for known in processes if known.host == socket.gethostname()])
        output.finish()
    status = fault.status if fault else connections.status or (process.returncode if process.returncode >= 0 else 1)
    if status and not fault and not connections.ranks:
        for line in output.causes():
            note(f"fastrnn: mpiexec: {line}")
    if output.lost and not status:
        raise output.lost
    return End(130 if stop.count and status else status, fault and fault.message, connections.out)


def _watch(process: subprocess.Popen[bytes], connections: Connections, ranks: int, stop: StopRequests) -> Fault | None:
    """Wait for the end; return the fault if a rank died, hung or did not start."""
    told, started = 0, None
    while process.poll() is None:
        connections.listen(TICK)
        missing = sorted(set(range(ranks)) - connections.ranks.keys())
        if stop.count > told:
            told = stop.count
            if missing or told > 1 or not connections.stop():  # before all have started, there is nothing to save
                return None
            note("fastrnn: saving; Ctrl-C again ends at once")
        if connections.aborted:
            return None
        if _someone_died(connections, stop.count > 0):
            return _death(connections)
        if missing and connections.ranks:
            started = started or time.monotonic()
            if time.monotonic() - started > STARTED:
                return Fault(f"rank {missing[0]} has not started within {STARTED:.0f} s of the first one")
        elif (hanging := connections.hanging()) is not None:
            return Fault(hanging)
    while connections.listen(0):
        pass
    return _death(connections) if _someone_died(connections, stop.count > 0) else None


def _someone_died(connections: Connections, stopping: bool) -> bool:
    """Return whether a rank died, unless a rank says that it ended all of them.

    Unless the run is to stop, that includes ranks that ended with a status other than 0, or while others still started.
    """
    ended = connections.failed() or (connections.ranks and connections.never_connected())
    return not connections.status and bool(connections.died or (ended and not stopping))


def _death(connections: Connections) -> Fault | None:
    """Return the rank that died first, and how, unless a rank says that it ended all of them."""
    if _hears(connections, SETTLED, lambda: bool(connections.status)):
        return None
    if not connections.died:
        end = (connections.failed() or connections.never_connected())[0]
        joined = end.process.number in connections.ranks or not connections.ranks
        return Fault(f"{end.process} died{'' if joined else ' before it joined the others'}: {end.how}", end.status or 1)
    dead = connections.died[0]
    _hears(connections, REPORTED, lambda: dead.process.number in connections.exits)
    reported = connections.exits.get(dead.process.number)
    return Fault(f"{dead} died: {reported.how}", reported.status or 1) if reported else Fault(f"{dead} died")


def _hears(connections: Connections, seconds: float, condition: Callable[[], bool]) -> bool:
    """Read messages until the condition is true, for at most this time; return whether it is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        connections.listen(TICK)
    return condition()


def _end(process: subprocess.Popen[bytes], pids: Sequence[int]) -> None:
    """End mpiexec and these ranks by force, unless they end by themselves because they have lost the launcher."""
    deadline = time.monotonic() + ENDS_IN
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(TICK / 10)
    if process.poll() is not None:
        return
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_IN)
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class StopRequests:
    """Counter of Ctrl-C and of SIGTERM, which batch systems send before they end a job."""

    def __init__(self) -> None:
        self.count = 0

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the signals during the block instead of raising KeyboardInterrupt."""
        numbers = signal.SIGINT, signal.SIGTERM
        before = [signal.signal(number, self._handle) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
