"""The parent process of a rank: it starts the rank's program, waits, and tells the launcher how the program ended.

mpiexec also reports how a rank ended, but sometimes fails itself because the rank is gone. A parent process cannot miss it.

``python -I -S rank_parent.py VARIABLE INPUT PROGRAM ...`` runs it. VARIABLE is the environment variable with the launcher's
address. INPUT is DESCRIPTOR:DEVICE:INODE, an inherited file that becomes the standard input of rank 0. The other ranks have
an empty one. Every rank's start waits for this program, so it imports as little as it can, and nothing of fastrnn.
"""

import os
import signal
import sys

TIMEOUT = 10.0  # seconds to reach the launcher
NOT_STARTED = 127  # exit status if the program cannot be started, as in a shell
TO_ALL = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2


def main(variable: str, source: str, program: list[str]) -> int:
    """Run the program and return its exit status, in the form of a shell."""
    # mpiexec sends signals to the process group, which includes the rank. Its parent passes none on, and outlives the rank.
    # A handler instead of SIG_IGN, because the program would inherit that.
    for number in TO_ALL:
        signal.signal(number, lambda *_: None)
    redirect_input(source, os.environ["PMI_RANK"] == "0")
    try:  # Python itself ignores the signals of setsigdef
        pid = os.posix_spawnp(program[0], program, os.environ, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ))
    except OSError as error:
        report(variable, os.getpid(), f"{program[0]}: {error.strerror}", 1)
        return NOT_STARTED
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        report(variable, pid, f"{signal.strsignal(-status)} (signal {-status})", 1)
        return 128 - status
    report(variable, pid, f"exit status {status}", status)
    return status


def redirect_input(source: str, wanted: bool) -> None:
    """Redirect standard input to an inherited file, pipe or terminal; it is empty if that is not wanted or not inherited.

    mpiexec's own way to forward its input ends the job if the rank reads too slowly, and leaves the other ranks waiting. A
    file that is opened again would be read from its beginning, although the shell may have read a part of it.
    """
    descriptor, *identity = map(int, source.split(":"))
    try:
        file = os.fstat(descriptor)
        inherited = [file.st_dev, file.st_ino] == identity
    except OSError:
        inherited = False
    if inherited and wanted:
        os.dup2(descriptor, 0)
    else:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
    if inherited and descriptor:
        os.close(descriptor)


def report(variable: str, pid: int, how: str, status: int) -> None:
    """Tell the launcher, if it still runs, how the rank's process ended, and the exit status that follows for all."""
    import json
    import socket

    host, port, token = os.environ[variable].split()
    message = {"token": token, "rank": os.environ["PMI_RANK"], "pid": pid, "host": socket.gethostname()}
    try:
        with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
            connection.sendall(json.dumps({**message, "how": how, "status": status}).encode() + b"\n")
    except OSError:
        pass


if __name__ == "__main__":
    # Not sys.exit, which first removes the handlers of signals: mpiexec sends SIGUSR1 to the other ranks when one ends.
    os._exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
