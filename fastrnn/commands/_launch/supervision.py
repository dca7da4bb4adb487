"""The supervision of one run of all ranks: it ends when they end, when one of them dies or hangs, or at Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ...console import note
from ...distributed.heartbeat import ADDRESS
from .connections import Connections
from .mpi_program import Layout
from .output import Output

DIED = "died"
TICK = 0.1
SETTLED = 0.5  # seconds for a rank's report that it ended all ranks, after its connection has ended
STARTED = 60.0  # seconds in which all ranks start, once the first one has
ENDS_IN = 2.0  # seconds that ranks get to end by themselves


@dataclass(frozen=True)
class End:
    """How a run ended: its exit status, and the fault if a rank died or hung. ``out`` is the run folder if it is known."""

    status: int
    fault: str | None
    out: str | None


def supervise(words: Sequence[str], environment: Mapping[str, str], layout: Layout, stop: StopRequests) -> End:
    """Run mpiexec and return how it ended; no rank is left."""
    connections = Connections(layout.remote)
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that Ctrl-C reaches the launcher alone, which lets the ranks save
        env={**environment, ADDRESS: connections.address},
    )
    output = Output(process)
    fault = None
    try:
        fault = _watch(process, connections, layout.ranks, stop)
    finally:
        pids = [rank.pid for rank in connections.ranks.values() if rank.host == socket.gethostname()]
        connections.close()
        by_themselves = _end(process, pids)
        output.finish()
    if fault and fault.endswith(DIED) and by_themselves and output.how:
        fault += f": {output.how}"
    if not fault and not connections.status and output.how and not stop.count:
        fault = f"a rank {DIED} while it started: {output.how}"
    status = 1 if fault else connections.status or (process.returncode if process.returncode >= 0 else 1)
    if status and not fault and not connections.ranks:
        for line in output.kept[-1:]:
            note(f"fastrnn: mpiexec: {line}")
    return End(130 if stop.count and status else status, fault, connections.out)


def _watch(process: subprocess.Popen[bytes], connections: Connections, ranks: int, stop: StopRequests) -> str | None:
    """Wait for the end; return the fault if a rank died, hung or did not start."""
    told, started, most, running = 0, None, 0, 0
    while process.poll() is None:
        connections.listen(TICK)
        if stop.count > told:
            told = stop.count
            if told > 1 or not connections.stop():
                return None
            note("fastrnn: saving; Ctrl-C again ends at once")
        if connections.died and not connections.status:
            return _death(connections)
        missing = sorted(set(range(ranks)) - set(connections.ranks))
        if missing and connections.ranks:
            started = started or time.monotonic()
            most, running = max(most, running), _ranks_here(process.pid)
            if running < most:
                return f"rank {missing[0]} {DIED} while it started"
            if time.monotonic() - started > STARTED:
                return f"rank {missing[0]} has not started within {STARTED:.0f} s of the first one"
        if (fault := connections.hanging()) is not None:
            return fault
    connections.listen(0)
    return _death(connections) if connections.died and not connections.status else None


def _ranks_here(mpiexec: int) -> int:
    """Return the number of ranks on this machine, the grandchildren of mpiexec; 0 on a system without /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(path.parent.name)] = int(fields[1])
    return sum(parents.get(parent) == mpiexec for parent in parents.values())


def _death(connections: Connections) -> str | None:
    """Return the rank that died first, unless a rank says that it ended all of them."""
    deadline = time.monotonic() + SETTLED
    while time.monotonic() < deadline and not connections.status:
        connections.listen(TICK)
    return None if connections.status else f"{connections.died[0]} {DIED}"


def _end(process: subprocess.Popen[bytes], pids: Sequence[int]) -> bool:
    """End mpiexec and these ranks by force, unless they end by themselves, as they have lost the launcher; return that."""
    deadline = time.monotonic() + ENDS_IN
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(TICK / 10)
    if process.poll() is not None:
        return True
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
    return False


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
