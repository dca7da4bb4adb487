"""The communicator over MPI, which is initialised when the first one is made."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import numpy as np

from .._core.arrays import Array
from .communicator import Request


class MpiRequest:
    """Request of a non-blocking MPI call."""

    __slots__ = ("_request",)

    def __init__(self, request: Any) -> None:
        self._request = request

    def test(self) -> bool:
        """Return whether the exchange is complete, and let MPI make progress."""
        return bool(self._request.Test())

    def wait(self) -> None:
        """Wait until the exchange is complete."""
        self._request.Wait()


class MpiCommunicator:
    """Communicator of all processes of an MPI job. Arrays travel as buffers and small values as JSON.

    Raises ImportError or RuntimeError if mpi4py finds no MPI.
    """

    def __init__(self) -> None:
        from mpi4py import MPI

        self._mpi: Any = MPI
        self._world: Any = MPI.COMM_WORLD.Dup()  # so that messages of the user's own MPI calls never meet ours
        self.rank, self.size = int(self._world.Get_rank()), int(self._world.Get_size())
        self.host = socket.gethostname()

    def allreduce(self, array: Array) -> None:
        """Replace a contiguous array by the sum over all ranks."""
        self._world.Allreduce(self._mpi.IN_PLACE, array)

    def iallreduce(self, source: Array, target: Array) -> Request:
        """Start to write the sum of ``source`` over all ranks into ``target``."""
        return MpiRequest(self._world.Iallreduce(source, target))

    def broadcast(self, array: Array, root: int = 0) -> None:
        """Replace a contiguous array by that of rank ``root``."""
        self._world.Bcast(array, root)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, on every rank."""
        mine = np.frombuffer(json.dumps(value).encode(), np.uint8)
        counts = np.empty(self.size, np.int64)
        self._world.Allgather(np.array([len(mine)], np.int64), counts)
        everything = np.empty(int(counts.sum()), np.uint8)
        self._world.Allgatherv(mine, [everything, counts.tolist()])
        return [json.loads(part.tobytes()) for part in np.split(everything, np.cumsum(counts)[:-1])]

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self._world.Barrier()

    def abort(self, status: int) -> None:
        """End all ranks at once with this exit status, without MPICH's own line about it."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        self._world.Abort(status)
