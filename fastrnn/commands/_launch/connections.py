"""The launcher's side of the heartbeats: it collects the messages of the ranks and of their parent processes.

From these it finds a rank that died or hangs.
"""

from __future__ import annotations

import json
import secrets
import selectors
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from ...distributed.heartbeat import BEAT, STEP, WAITING
from .mpi_program import address_towards

SILENT = 10 * BEAT  # seconds without a message after which a rank hangs
SLOWER = 20  # a rank hangs if a step takes this many times the longest step so far, and more than SILENT


@dataclass(frozen=True)
class Process:
    """The process of a rank."""

    number: int
    host: str
    pid: int

    def __str__(self) -> str:
        return f"rank {self.number} on {self.host} (process {self.pid})"


@dataclass(frozen=True)
class Exit:
    """How a rank's process ended, as its parent process reports. ``status`` is 1 after a signal; 0 is no fault by itself."""

    process: Process
    how: str
    status: int


@dataclass
class Rank:
    """The launcher's knowledge of a rank."""

    process: Process
    connection: socket.socket
    heard: float = field(default_factory=time.monotonic)
    doing: str = ""
    seconds: float = 0.0  # for how long
    ended: bool = False

    def __str__(self) -> str:
        return str(self.process)


class Connections:
    """Sockets of all ranks. ``out`` is the run folder and ``status`` the exit status, once a rank has said so.

    ``aborted`` is True once a rank ends all of them. MPICH alone does not end a rank that is outside a call of MPI.
    ``ranks`` has the ranks that have connected, and ``exits`` how ranks ended, by their numbers and in this order.
    """

    def __init__(self, remote: tuple[str, ...]) -> None:
        self.token = secrets.token_hex(16)
        self.ranks: dict[int, Rank] = {}
        self.exits: dict[int, Exit] = {}
        self.out: str | None = None
        self.status: int | None = None
        self.aborted = False
        self.died: list[Rank] = []  # in this order
        self._longest = 0.0
        self._buffers: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        here = address_towards(remote[0]) if remote else "127.0.0.1"
        self._server = socket.create_server((here, 0), backlog=256)
        self._selector.register(self._server, selectors.EVENT_READ)
        self.address = f"{here} {self._server.getsockname()[1]} {self.token}"

    def listen(self, seconds: float) -> bool:
        """Wait for messages for at most this time, and read those that have come; return whether any have."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            connection: Any = key.fileobj
            if connection is self._server:
                accepted, _ = self._server.accept()
                self._buffers[accepted] = b""
                self._selector.register(accepted, selectors.EVENT_READ)
            else:
                self._read(connection)
        return bool(ready)

    def _read(self, connection: socket.socket) -> None:
        try:
            received = connection.recv(1 << 16)
        except OSError:
            received = b""
        if not received:
            self._closed(connection)
            return
        *lines, self._buffers[connection] = (self._buffers[connection] + received).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
                self._heard(connection, message)
            except (ValueError, TypeError, KeyError, AttributeError):  # not a rank
                self._closed(connection)
                return

    def _heard(self, connection: socket.socket, message: dict[str, Any]) -> None:
        rank = self._of(connection)
        if rank is None:
            if not secrets.compare_digest(message["token"], self.token):
                raise ValueError("token")
            self._introduced(connection, message)
            return
        rank.heard = time.monotonic()
        if "ends" in message:
            rank.ended = True
            self.aborted |= bool(message["all"])
            if message["ends"] and not self.status:
                self.status = int(message["ends"])
        elif "out" in message:
            self.out = str(message["out"])
        else:
            if rank.doing == STEP and message["doing"] != STEP:
                self._longest = max(self._longest, rank.seconds)
            rank.doing, rank.seconds = str(message["doing"]), float(message["seconds"])

    def _introduced(self, connection: socket.socket, message: dict[str, Any]) -> None:
        process = Process(int(message["rank"]), str(message["host"]), int(message["pid"]))
        if "how" in message:
            self.exits[process.number] = Exit(process, str(message["how"]), int(message["status"]))
        else:
            self.ranks[process.number] = Rank(process, connection)
            for rank in self.ranks.values():  # MPI's start silences each rank until the last one has connected
                rank.heard = time.monotonic()

    def _closed(self, connection: socket.socket) -> None:
        rank = self._of(connection)
        if rank is not None and not rank.ended and rank not in self.died:
            self.died.append(rank)
        self._selector.unregister(connection)
        self._buffers.pop(connection, None)
        connection.close()

    def _of(self, connection: socket.socket) -> Rank | None:
        return next((rank for rank in self.ranks.values() if rank.connection is connection), None)

    def hanging(self) -> str | None:
        """Return a message if a rank no longer sends messages, or if it computes and all others wait for far too long."""
        now = time.monotonic()
        alive = [rank for rank in self.ranks.values() if not rank.ended and rank not in self.died]
        for rank in alive:
            if now - rank.heard > SILENT:
                return f"{rank} hangs: it has said nothing for {SILENT:.0f} s"
        limit = max(SILENT, SLOWER * self._longest)
        gone = [rank for rank in self.ranks.values() if rank.ended]
        if gone and alive and all(rank.doing == WAITING and rank.seconds > SILENT for rank in alive):
            return f"{gone[0]} has ended, but the others wait for it"
        computing = [rank for rank in alive if rank.doing == STEP]
        if len(computing) == 1 < len(alive) and all(rank.doing == WAITING for rank in alive if rank is not computing[0]):
            waited = min(rank.seconds for rank in alive if rank is not computing[0])
            return f"{computing[0]} hangs: the others wait for it for {waited:.0f} s" if waited > limit else None
        return None

    def failed(self) -> list[Exit]:
        """Return how those ranks ended that a signal or a status other than 0 ended, in the order of their ends."""
        return [end for end in self.exits.values() if end.status]

    def never_connected(self) -> list[Exit]:
        """Return the ends of the ranks that ended without having connected, in this order."""
        return [end for number, end in self.exits.items() if number not in self.ranks]

    def stop(self) -> bool:
        """Ask rank 0 to save and end; return False if it is not connected."""
        rank = self.ranks.get(0)
        if rank is None or rank.ended or rank in self.died:
            return False
        try:
            rank.connection.sendall(b"s")
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End all connections, so that every rank exits."""
        for key in list(self._selector.get_map().values()):
            connection: Any = key.fileobj
            self._selector.unregister(connection)
            connection.close()
        self._selector.close()
