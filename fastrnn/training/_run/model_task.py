"""Tasks of the training loop: a model with its batches, its loss and its evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..._core import checks
from ..._core.arrays import Array
from ..._core.batch_draws import PartGenerator
from ...distributed.agreement import TooManyRanks, common
from ...distributed.communicator import SOLO, Communicator
from ...distributed.part import Part, part_of
from ...losses import IGNORED, softmax_cross_entropy

if TYPE_CHECKING:
    from ..._core.parameter import Parameter

_NOTHING = nullcontext()


class ModelTask:
    """Base of tasks that train one model; see :class:`fastrnn.training.Task`. The model's dropout draws from ``rng``."""

    def __init__(self, model: Any, rng: np.random.Generator) -> None:
        self.model, self._rng = model, rng
        self.communicator = SOLO
        model.set_rng(rng)

    def divide_batches(self, communicator: Communicator, batch: int, examples: float, what: str) -> None:
        """Compute only this rank's part of each batch.

        ``batch`` is the wanted size of a batch, and ``examples`` the number of all training examples, which are called
        ``what``. Raises TooManyRanks if either is below the number of ranks.
        """
        size = communicator.size
        if examples < size:
            wanted = f"the training data must have at least as many {what} as there are ranks, {size}"
            raise common(TooManyRanks(f"{wanted}, got {examples}: use fewer ranks or more data"))
        if batch < size:
            raise common(TooManyRanks(f"batch must be at least the number of ranks, {size}, got {batch}"))
        self.communicator = communicator
        self._rng = PartGenerator(self._rng.bit_generator)
        self.model.set_rng(self._rng)

    def part(self, B: int, lengths: Array | None) -> Part:
        """Return this rank's part of a batch; the model's dropout then draws this part's random numbers."""
        part = part_of(B, self.communicator, lengths)
        if isinstance(self._rng, PartGenerator):
            self._rng.columns, self._rng.total = part.columns, B
        return part

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return the model's parameters with their names."""
        found: list[tuple[str, Parameter]] = self.model.named_parameters()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the random state."""
        return {"rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a :meth:`state_dict`. Raises KeyError or ValueError for another task's state."""
        self._rng.bit_generator.state = state["rng"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Batch of token sequences, padded to the longest.

    ``inputs`` are in the model's own form, ``targets`` int64 ``[T,B]``, ``lengths`` int64 ``[B]`` or None if all are T.
    ``tokens`` is the number of unmasked targets. ``first`` says that the sequences begin here, from a zero state.
    """

    inputs: Any
    targets: Array
    lengths: Array | None
    tokens: int
    first: bool

    def part(self, part: Part) -> Batch:
        """Return the batch of a rank, padded as this one."""
        columns = part.columns
        fields = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        own = tuple(np.ascontiguousarray(field[:, columns]) for field in fields)
        targets = np.ascontiguousarray(self.targets[:, columns])
        tokens = int(np.count_nonzero(targets != IGNORED)) if part.counts else 0
        inputs = own if isinstance(self.inputs, tuple) else own[0]
        return Batch(inputs, targets, None if self.lengths is None else self.lengths[columns], tokens, self.first)


class Batches:
    """Base of endless sources of batches of ``batch`` sequences, which follow from a seed and a position, a count so far.

    ``examples`` is the number of training examples and what messages call them; infinity if a batch may have one twice.
    """

    batch: int
    examples: tuple[float, str] = math.inf, "examples"

    def __init__(self, seed: int) -> None:
        self._seed, self._position = seed, 0
        self._order = (-1, np.empty(0, np.int64))  # an epoch and its shuffled order

    def next(self) -> Batch:
        """Return the next batch."""
        raise NotImplementedError

    def _shuffled(self, epoch: int, count: int) -> Array:
        """Return the order of ``count`` items in an epoch."""
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, epoch]).permutation(count))
        return self._order[1]

    def state_dict(self) -> dict[str, int]:
        """Return the position, serialisable as JSON."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a :meth:`state_dict`. Raises KeyError, TypeError or ValueError."""
        self._position = checks.positive_int("position", state["position"], 0)


class Evaluation(Protocol):
    """Protocol of the held-out batches; each call starts from the first. ``tokens`` is the number of held-out tokens."""

    tokens: int

    def __call__(self, limit: int | None = None) -> Iterable[Batch]:
        """Return all batches, or a fixed sample of them that reads about ``limit`` tokens."""


class SequenceTask(ModelTask):
    """Training task of a model of token sequences; a :class:`fastrnn.training.Task`.

    ``learn(batch, state)`` runs forward and backward and returns the mean loss in nats and the next state. ``read(batch,
    state)`` returns logits ``[T,B,V]`` and the next state. In a stream each batch starts from the last state of the previous
    one, without its gradient: truncated backpropagation through time.
    """

    def __init__(
        self,
        model: Any,
        batches: Batches,
        evaluation: Evaluation,
        rng: np.random.Generator,
        learn: Callable[[Batch, Any], tuple[float, Any]],
        read: Callable[[Batch, Any], tuple[Array, Any]],
    ) -> None:
        super().__init__(model, rng)
        self.batches, self._evaluation, self._learn, self._read = batches, evaluation, learn, read
        self._state: Any = None
        # Makes the context in which a step runs; on several ranks its gradients are sent meanwhile.
        self.overlap: Callable[[float], AbstractContextManager[None]] = lambda tokens: _NOTHING
        self._columns: tuple[Array, int] | None = None  # the carried state's columns in the batch
        self._limit: int | None = None  # tokens that an evaluation reads; None for all
        self._counted = evaluation.tokens

    def train_step(self) -> tuple[float, int]:
        """Run forward and backward on the next batch; return the mean loss in nats per token, and the tokens."""
        batch = self._own(self.batches.next())
        with self.overlap(batch.tokens):
            loss, self._state = self._learn(batch, None if batch.first else self._state)
        return loss, batch.tokens

    def divide(self, communicator: Communicator) -> None:
        """Compute only this rank's sequences of each batch; see :class:`fastrnn.training._run.ranks.DividedTask`."""
        self.divide_batches(communicator, self.batches.batch, *self.batches.examples)

    def _own(self, batch: Batch) -> Batch:
        if self.communicator.size == 1:
            return batch
        B = batch.targets.shape[1]
        part = self.part(B, batch.lengths)
        self._columns = part.columns, B
        return batch.part(part)

    @property
    def evaluated(self) -> tuple[int, int]:
        """The number of tokens that :meth:`evaluate` counts, and the number of all held-out tokens."""
        return self._counted, self._evaluation.tokens

    def limit_evaluation(self, tokens: int) -> None:
        """Limit :meth:`evaluate` to a sample that reads about ``tokens``; all, if no more are held out."""
        self._limit_to(tokens if self._evaluation.tokens > tokens else None)

    def _limit_to(self, tokens: int | None) -> None:
        self._limit = tokens
        held = self._evaluation.tokens
        self._counted = held if tokens is None else sum(batch.tokens for batch in self._evaluation(tokens))

    def evaluate(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """Return the mean loss over the held-out batches or their sample, in nats per token.

        A stream carries the state from batch to batch. ``advance`` is called with the number of tokens of each batch.
        """
        return self._mean_loss(self._evaluation(self._limit), advance)

    def evaluate_in_full(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """Return the mean loss over all held-out batches; ``advance`` is called as by :meth:`evaluate`."""
        return self._mean_loss(self._evaluation(), advance)

    def _mean_loss(self, batches: Iterable[Batch], advance: Callable[[int], None]) -> float:
        total, tokens, state = 0.0, 0, None
        for whole in batches:
            batch = self._evaluated(whole)
            logits, state = self._read(batch, None if batch.first else state)
            loss, _ = softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED, reduction="sum")
            if batch.tokens:
                total += loss
                tokens += batch.tokens
            advance(whole.tokens)
        sums = np.array([total, tokens], np.float64)
        self.communicator.allreduce(sums)
        return float(sums[0] / sums[1])

    def _evaluated(self, batch: Batch) -> Batch:
        """Return this rank's part of a held-out batch; a stream keeps each sequence on one rank."""
        if self.communicator.size == 1:
            return batch
        return batch.part(part_of(batch.targets.shape[1], self.communicator, batch.lengths))

    def _whole(self, carried: Array) -> Array:
        """Return the carried state ``[L*D, B, ...]`` of all ranks."""
        if self._columns is None:
            return carried
        columns, B = self._columns
        whole = np.zeros((carried.shape[0], B, *carried.shape[2:]), carried.dtype)
        whole[:, columns] = carried
        self.communicator.allreduce(whole)
        return whole

    def state_dict(self) -> dict[str, Any]:
        """Return the position, the random state, the sample's size, and the carried state under ``"arrays"``."""
        carried = [] if self._state is None else self._state
        parts = {"h": carried} if isinstance(carried, np.ndarray) else dict(zip("hc", carried, strict=False))
        arrays = {name: self._whole(part) for name, part in parts.items()}
        sample = {} if self._limit is None else {"evaluated": self._limit}
        return {"batches": self.batches.state_dict(), **super().state_dict(), **sample, "arrays": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`. Raises KeyError or ValueError for another task's state."""
        self.batches.load_state_dict(state["batches"])
        super().load_state_dict(state)
        limit = state.get("evaluated")  # missing in runs of older versions, which evaluated all
        self._limit_to(None if limit is None else checks.positive_int("evaluated", limit))
        arrays = dict(state.get("arrays", {}))
        if arrays and self.communicator.size > 1:
            B = arrays["h"].shape[1]
            self._columns = part_of(B, self.communicator).columns, B
            arrays = {name: np.ascontiguousarray(array[:, self._columns[0]]) for name, array in arrays.items()}
        h = arrays.get("h")
        self._state = (h, arrays["c"]) if "c" in arrays else h
