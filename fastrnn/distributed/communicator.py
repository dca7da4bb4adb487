"""The protocol by which ranks exchange arrays, and the communicator of a single process."""

from __future__ import annotations

import socket
from typing import Any, Protocol

from .._core.arrays import Array


class Request(Protocol):
    """Protocol of an exchange that runs in the background."""

    def test(self) -> bool:
        """Return whether the exchange is complete, and let the library make progress."""

    def wait(self) -> None:
        """Wait until the exchange is complete."""


class Communicator(Protocol):
    """Protocol of the connection among ranks.

    All ranks call the same methods in the same order, with arrays of the same shape and dtype. A sum's order of addition
    depends only on the number of ranks and the size of the array, and all ranks get the same bits.

    Attributes
    ----------
    rank, size
        The number of this rank, from 0, and of ranks.
    host
        The name of this rank's machine.
    """

    rank: int
    size: int
    host: str

    def allreduce(self, array: Array) -> None:
        """Replace a contiguous array by the sum over all ranks."""

    def iallreduce(self, source: Array, target: Array) -> Request:
        """Start to write the sum of ``source`` over all ranks into ``target``; both must stay alive until it is complete."""

    def broadcast(self, array: Array, root: int = 0) -> None:
        """Replace a contiguous array by that of rank ``root``."""

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, on every rank. They are small and serialisable as JSON."""

    def barrier(self) -> None:
        """Wait until all ranks are here."""

    def abort(self, status: int) -> None:
        """End all ranks at once with this exit status."""


class Solo:
    """Communicator of a single process."""

    rank, size = 0, 1

    def __init__(self) -> None:
        self.host = socket.gethostname()

    def allreduce(self, array: Array) -> None:
        """Leave the array as it is."""

    def iallreduce(self, source: Array, target: Array) -> Request:
        """Copy the array."""
        target[...] = source
        return Done()

    def broadcast(self, array: Array, root: int = 0) -> None:
        """Leave the array as it is."""

    def gather(self, value: Any) -> list[Any]:
        """Return a list of the value."""
        return [value]

    def barrier(self) -> None:
        """Return at once."""

    def abort(self, status: int) -> None:
        """Exit with this status."""
        raise SystemExit(status)


class Done:
    """Request that is complete."""

    def test(self) -> bool:
        """Return True."""
        return True

    def wait(self) -> None:
        """Return at once."""


SOLO: Communicator = Solo()
