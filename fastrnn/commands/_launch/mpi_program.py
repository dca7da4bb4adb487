"""The command line of mpiexec, and the machines that it starts ranks on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ...console import note
from ...distributed.heartbeat import ADDRESS
from ...distributed.world import BIND
from ..errors import InputError, UsageError

# Runs a rank, without the site packages and without fastrnn, so that it starts in about 20 ms.
PARENT = (sys.executable, "-I", "-S", str(Path(__file__).with_name("rank_parent.py")), ADDRESS)
REACHED_IN = 5  # seconds
MOST_PER_CORE = 16  # processes; many more fill the memory and leave no processor for anything else
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Layout:
    """The ranks of a run: how many, on which machines (none: this one), and the threads of each."""

    ranks: int
    hosts: tuple[str, ...]
    threads: int

    @property
    def remote(self) -> tuple[str, ...]:
        """The machines other than this one."""
        return tuple(host for host in self.hosts if not is_here(host))

    @property
    def per_machine(self) -> int:
        """The number of ranks on a machine, fewer on the last one if they do not divide evenly."""
        return -(-self.ranks // max(1, len(self.hosts)))


def layout(ranks: int, hosts: str | None, threads: int | None) -> Layout:
    """Return the layout that the options describe. The default for the threads is this machine's cores / its ranks."""
    names = tuple(name.strip() for name in hosts.split(",")) if hosts is not None else ()
    if not all(names):
        raise UsageError(f"argument --hosts: must be names separated by commas, got {hosts!r}")
    if len(set(names)) < len(names):
        raise UsageError(f"argument --hosts: names each machine once, got {hosts!r}")
    if len(names) > ranks:
        raise UsageError(f"argument --hosts: {len(names)} machines need at least as many ranks, got -n {ranks}")
    made = Layout(ranks, names, threads or 1)
    if made.per_machine > MOST_PER_CORE * cores():
        most = f"at most {MOST_PER_CORE * cores()} processes on a machine of {cores()} cores"
        raise UsageError(f"argument -n/--ranks: {most}, got {made.per_machine}")
    return made if threads else replace(made, threads=max(1, cores() // made.per_machine))


def environment_of(layout: Layout) -> dict[str, str]:
    """Return the settings of all ranks, which the caller's environment may override."""
    settings = {BIND: "1"}
    if layout.per_machine * layout.threads > cores():
        settings["MPIR_CVAR_CH4_PROGRESS_THROTTLE"] = "1"  # a rank that waits leaves the core to others
    return settings


def cores() -> int:
    """Return the number of this machine's processors that the launcher may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_here(host: str) -> bool:
    """Return whether a name is this machine's."""
    return host in (*LOCAL, socket.gethostname())


def mpiexec() -> str:
    """Return the path of MPICH's mpiexec: that of this Python's environment, else the first one of PATH."""
    own = Path(sys.executable).parent / "mpiexec"
    found = str(own) if own.exists() else shutil.which("mpiexec")
    install = 'pip install "fastrnn[mpi]"'
    if found is None:
        raise InputError(f"no MPI is installed: there is no mpiexec; {install}")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    if "HYDRA" not in version:
        raise InputError(f"{found} is not MPICH's: {install}, or start the ranks with it directly (docs/distributed.md)")
    return found


def standard_input(layout: Layout, command: Sequence[str]) -> int:
    """Open rank 0's standard input: the launcher's for a program on this machine, else an empty file."""
    own = command[0] != "train" and not (layout.hosts and not is_here(layout.hosts[0]))
    return os.dup(0) if own else os.open(os.devnull, os.O_RDONLY)


def identified(descriptor: int) -> str:
    """Return a descriptor with its file's device and inode, so that a rank can check that it inherited this file."""
    file = os.fstat(descriptor)
    return f"{descriptor}:{file.st_dev}:{file.st_ino}"


def command_line(program: str, layout: Layout, command: Sequence[str], options: Sequence[str], source: int) -> list[str]:
    """Return mpiexec's command line, with more ``options``, for a fastrnn command or any other program.

    mpiexec and the ranks of this machine inherit ``source``, the standard input of rank 0.
    """
    words = [sys.executable, "-m", "fastrnn", *command] if command[0] == "train" else list(command)
    # The launcher, not mpiexec, ends the remaining ranks, so that the first rank that is gone is the one that died.
    options = ["-disable-auto-cleanup", *options, "-n", str(layout.ranks)]
    if layout.hosts:
        options += ["-ppn", str(layout.per_machine), "-hosts", ",".join(layout.hosts)]
    if layout.remote:  # this machine's own name may mean nothing to the others
        options += ["-localhost", address_towards(layout.remote[0])]
    return [program, *options, *PARENT, identified(source), *words]


def require_program(layout: Layout, program: str) -> None:
    """Raise InputError if no rank on this machine could run the program."""
    if len(layout.remote) < max(1, len(layout.hosts)) and shutil.which(program) is None:
        raise InputError(f"there is no program {program} to run on the ranks")


def address_towards(host: str) -> str:
    """Return the address of this machine that another machine sees. Raises InputError for an unknown name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # sends nothing
        except OSError as error:
            raise InputError(f"the machine {host} cannot be reached: {error.strerror}") from error
        return str(probe.getsockname()[0])


def require_reachable(hosts: Sequence[str]) -> None:
    """Raise InputError, naming the machine, unless ssh starts a program on each of these machines without a password."""
    if not hosts:
        return
    note(f"fastrnn: connecting to {', '.join(hosts)}")
    with ThreadPoolExecutor(len(hosts)) as pool:
        faults = dict(zip(hosts, pool.map(_fault, hosts), strict=True))
    for host, fault in faults.items():
        if fault:
            raise InputError(f"the machine {host} cannot be reached by ssh: {fault}")


def _fault(host: str) -> str | None:
    words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={REACHED_IN}", host, "true"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=2 * REACHED_IN, check=False)
    except FileNotFoundError:
        return "ssh is not installed"
    except subprocess.TimeoutExpired:
        return f"no answer within {2 * REACHED_IN} s"
    lines = done.stderr.strip().splitlines()
    return (lines[-1] if lines else f"exit status {done.returncode}") if done.returncode else None
