"""The ranks that train one model: the division of the task, and what they exchange at each step."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ..._core.checks import describe
from ..._core.version import __version__
from ...distributed import heartbeat
from ...distributed.agreement import RankError, common, require_same
from ...distributed.communicator import Communicator
from ...distributed.gradients import GradientSum
from ...gradients import NonFiniteGradient, NonFiniteLoss

if TYPE_CHECKING:
    from ..._core.parameter import Parameter


@runtime_checkable
class DividedTask(Protocol):
    """Protocol of a :class:`fastrnn.training.task.Task` that can be divided among ranks.

    Every rank then calls each method of the task, which counts its own part of a batch in ``train_step`` and returns the
    same from ``evaluate`` and ``state_dict``.
    """

    def divide(self, communicator: Communicator) -> None:
        """Compute only this rank's part of each batch from now on. Raises ValueError if there are too many ranks."""


class Signals(NamedTuple):
    """What the ranks agree on before a step: whether one got Ctrl-C or wants to stop, and rank 0's clock and rate."""

    interrupted: bool
    stop: bool
    seconds: float
    base_lr: float


class Ranks:
    """The ranks of one trainer. A single process exchanges nothing."""

    def __init__(self, communicator: Communicator, task: Any, params: Sequence[tuple[str, Parameter]]) -> None:
        self._communicator, self._params, self._task = communicator, params, task
        self.several, self.main = communicator.size > 1, communicator.rank == 0
        self._sum: GradientSum | None = None
        if self.several:
            if not isinstance(task, DividedTask):
                raise TypeError(f"task must have divide(communicator) to be trained on several ranks, got {describe(task)}")
            task.divide(communicator)

    def begin(self, named: Sequence[tuple[str, Parameter]], settings: dict[str, Any]) -> None:
        """Check that all ranks train the same, and give all of them rank 0's weights. Raises RanksDiffer."""
        if self.several:
            shapes = {name: [str(param.dtype), *param.shape] for name, param in named}
            require_same(self._communicator, {"version of fastrnn": __version__, "model": shapes, **settings})
            self.share_weights(named)

    def share_weights(self, named: Sequence[tuple[str, Parameter]]) -> None:
        """Give all ranks rank 0's weights."""
        if self.several:
            for _, param in named:
                self._communicator.broadcast(param.writable())

    def require_equal_weights(self, named: Sequence[tuple[str, Parameter]], step: int) -> None:
        """Raise RanksDiffer, naming the rank, if sums or roundings differed among ranks."""
        if self.several:
            checksum = 0
            for _, param in named:
                checksum = zlib.crc32(param.values.data, checksum)
            require_same(self._communicator, {f"checksum of the weights at step {step}": checksum})

    def agree(self, mine: Signals) -> Signals:
        """Return the signals of all ranks together."""
        if not self.several:
            return mine
        flags = [mine.interrupted, mine.stop]
        values = np.array([*flags, *((mine.seconds, mine.base_lr) if self.main else (0.0, 0.0))], np.float64)
        self._communicator.allreduce(values)
        interrupted, stop, seconds, base_lr = values.tolist()
        return Signals(interrupted > 0, stop > 0, seconds, base_lr)

    def seconds(self, mine: float) -> float:
        """Return rank 0's clock."""
        return self.agree(Signals(False, False, mine, 0.0)).seconds

    def computes_a_step(self) -> None:
        """Tell the launcher that a step begins. The first one may compile kernels, so its time says nothing."""
        if self.several and self._sum is not None:
            heartbeat.doing(heartbeat.STEP)

    def average(self, loss: float, tokens: int) -> tuple[float, int]:
        """Average the gradients over ranks by their tokens; return the mean loss and the number of all tokens."""
        if not self.several:
            return loss, tokens
        if self._sum is None:
            self._sum = GradientSum(self._communicator, self._params)
            if self._sum.overlaps and hasattr(self._task, "overlap"):
                self._task.overlap = self._sum.during
        heartbeat.doing(heartbeat.WAITING)
        self._sum.start(tokens)
        sums = np.array([loss * tokens if tokens else 0.0, tokens], np.float64)
        began = time.perf_counter()
        self._communicator.allreduce(sums)
        self._sum.waited += time.perf_counter() - began  # MPI sends gradients meanwhile
        total, count = sums.tolist()
        self._sum.finish(count)
        heartbeat.doing(heartbeat.OTHER)
        return (total / count if count else math.nan), int(count)

    def blame(self, loss: float, tokens: int, step: int) -> None:
        """Raise on all ranks an error that names the first rank whose gradient or loss is not finite, if there is one."""
        if not self.several or self._sum is None:
            return
        lost = bool(tokens) and not math.isfinite(loss)
        found = self._communicator.gather([self._communicator.host, self._sum.not_finite(), f"{loss}" if lost else None])
        for rank, (host, name, value) in enumerate(found):
            if name is not None:
                message = f"rank {rank} on {host}: the gradient of {name} is not finite at step {step}: "
                raise common(NonFiniteGradient(f"{message}a lower learning rate or gradient clipping usually helps"))
            if value is not None:
                message = f"rank {rank} on {host}: the loss is {value} at step {step}"
                raise common(NonFiniteLoss(f"{message}: a lower learning rate usually helps"))

    def require_visible(self, path: Path) -> None:
        """Raise RankError on all ranks if one of them does not see a file that rank 0 has written."""
        if not self.several:
            return
        self._communicator.barrier()
        for rank, (host, seen) in enumerate(self._communicator.gather([self._communicator.host, path.exists()])):
            if not seen:
                raise common(RankError(f"rank {rank} on {host} cannot see {path}: all ranks need the same run folder"))
