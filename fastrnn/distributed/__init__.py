"""Training on several processes, on one machine or on many.

Start the processes with ``fastrnn launch -n N ...`` or with ``mpiexec``. Then ``fit(..., distributed=True)`` divides every
batch among them. In a training loop of your own, :func:`average_gradients` is the only change. A process is called a rank;
rank 0 prints and writes files. MPI is imported by :func:`world` alone, if several processes were started.
"""

from .agreement import RankError, RanksDiffer, TooManyRanks
from .communicator import Communicator, Request
from .gradients import average_gradients
from .world import world

__all__ = ["Communicator", "RankError", "RanksDiffer", "Request", "TooManyRanks", "average_gradients", "world"]
