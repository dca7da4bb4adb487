"""A rank's side of ``fastrnn launch``: it says that it is alive and what it does, and stops when the launcher tells it to.

The launcher listens on a socket, whose address is in the environment. Messages are lines of JSON. A rank exits if its
connection to the launcher ends or its parent process does, so no rank outlives the launcher, on any machine.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import threading
import time
from typing import Any

ADDRESS = "FASTRNN_LAUNCHER"  # environment variable: host, port and token, separated by blanks
BEAT = 0.5  # seconds between two messages
LOST = 3  # exit status of a rank that has lost the launcher

OTHER, STEP, WAITING = "other", "step", "waiting"  # what a rank does: it computes a step, or waits for other ranks in one


class Heartbeat:
    """Connection of a rank to the launcher, on a thread of its own."""

    def __init__(self, address: str, rank: int) -> None:
        host, port, token = address.split()
        self._doing, self._since, self._ended = OTHER, time.monotonic(), False
        self._parent = os.getppid()
        self._lock = threading.Lock()
        try:
            self._socket = socket.create_connection((host, int(port)), timeout=30)
        except ConnectionRefusedError:  # another rank failed, and the launcher has ended the run
            self._lost()
        self._socket.settimeout(None)
        self.say(token=token, rank=rank, pid=os.getpid(), host=socket.gethostname())
        for work in (self._beat, self._listen):
            threading.Thread(target=work, daemon=True).start()
        atexit.register(self.end, None)

    def doing(self, what: str) -> None:
        """Note what this rank does from now on."""
        self._doing, self._since = what, time.monotonic()

    def say(self, **message: Any) -> None:
        """Send a message. Without a launcher, exit."""
        try:
            with self._lock:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._lost()

    def end(self, status: int | None, *, all_ranks: bool = False) -> None:
        """Say that this rank ends by itself, or ends all ranks, with this status if it is known. The first call counts."""
        if not self._ended:
            self._ended = True
            self.say(ends=status, all=all_ranks)

    def _beat(self) -> None:
        while not self._ended:
            if os.getppid() != self._parent:
                self._lost()
            self.say(doing=self._doing, seconds=time.monotonic() - self._since)
            time.sleep(BEAT)

    def _listen(self) -> None:
        try:
            while received := self._socket.recv(1):
                if received == b"s":  # stop: as Ctrl-C, which saves first
                    os.kill(os.getpid(), signal.SIGINT)
        except OSError:
            pass
        self._lost()

    def _lost(self) -> None:
        if not self._ended:
            os._exit(LOST)


_heartbeat: Heartbeat | None = None


def start(rank: int) -> bool:
    """Connect to the launcher, if ``fastrnn launch`` started this process; return whether it did."""
    global _heartbeat
    address = os.environ.pop(ADDRESS, None)  # so that no child process takes the place of this rank
    if address and _heartbeat is None:
        _heartbeat = Heartbeat(address, rank)
    return _heartbeat is not None


def doing(what: str) -> None:
    """Tell the launcher what this rank does: STEP, WAITING or OTHER."""
    if _heartbeat is not None:
        _heartbeat.doing(what)


def say(**message: Any) -> None:
    """Tell the launcher something, such as the run folder."""
    if _heartbeat is not None:
        _heartbeat.say(**message)


def end(status: int, *, all_ranks: bool = False) -> None:
    """Tell the launcher that this rank ends by itself, or ends all ranks, with this exit status."""
    if _heartbeat is not None:
        _heartbeat.end(status, all_ranks=all_ranks)
