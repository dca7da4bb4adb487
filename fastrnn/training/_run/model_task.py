"""The tasks of the training loop: a model with its batches, its loss and its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..._core import checks
from ...losses import IGNORED, softmax_cross_entropy

if TYPE_CHECKING:
    from ..._core.parameter import Parameter

Array = NDArray[Any]


class ModelTask:
    """A model that is trained; the base of every :class:`fastrnn.training.Task`. Its dropout draws from ``rng``."""

    def __init__(self, model: Any, rng: np.random.Generator) -> None:
        self.model, self._rng = model, rng
        model.set_rng(rng)

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return the model's parameters with their names."""
        found: list[tuple[str, Parameter]] = self.model.named_parameters()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the random state."""
        return {"rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken. Raises KeyError or ValueError for another task's state."""
        self._rng.bit_generator.state = state["rng"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of tokens, padded to the longest.

    ``inputs`` are as the model takes them, ``targets`` int64 ``[T,B]``, ``lengths`` int64 ``[B]`` or None when all are T.
    ``tokens`` is the number of targets that count. ``first`` says that the sequences begin here: the state is zero.
    """

    inputs: Any
    targets: Array
    lengths: Array | None
    tokens: int
    first: bool


class Batches(Protocol):
    """An endless source of batches to train on."""

    def next(self) -> Batch:
        """Return the next batch."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position, for JSON."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises KeyError or ValueError."""


class Evaluation(Protocol):
    """The batches that are held out, from their beginning each time they are called for."""

    tokens: int

    def __call__(self, limit: int | None = None) -> Iterable[Batch]:
        """Return all batches, or always the same sample in which about ``limit`` tokens are read."""


class SequenceTask(ModelTask):
    """A model of sequences of tokens; a :class:`fastrnn.training.Task`.

    ``learn(batch, state)`` runs forward and backward and returns the mean loss in nats and the next state; ``read(batch,
    state)`` returns logits ``[T,B,V]`` and the next state. In a stream each batch starts from the state that the one before
    left, detached from it: truncated backpropagation through time.
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
        self._limit: int | None = None  # tokens that are read in an evaluation; None is all
        self._counted = evaluation.tokens

    def train_step(self) -> tuple[float, int]:
        """Run forward and backward on the next batch; return the mean loss in nats per token, and how many counted."""
        batch = self.batches.next()
        loss, self._state = self._learn(batch, None if batch.first else self._state)
        return loss, batch.tokens

    @property
    def evaluated(self) -> tuple[int, int]:
        """The tokens that :meth:`evaluate` counts, and those held out."""
        return self._counted, self._evaluation.tokens

    def limit_evaluation(self, tokens: int) -> None:
        """Let :meth:`evaluate` read about so many ``tokens``; all, if no more are held out."""
        self._limit_to(tokens if self._evaluation.tokens > tokens else None)

    def _limit_to(self, tokens: int | None) -> None:
        self._limit = tokens
        held = self._evaluation.tokens
        self._counted = held if tokens is None else sum(batch.tokens for batch in self._evaluation(tokens))

    def evaluate(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """Return the mean loss over what is held out or its sample, in nats per token, with the state carried along.

        ``advance`` is called with how many tokens more have been counted.
        """
        return self._mean_loss(self._evaluation(self._limit), advance)

    def evaluate_in_full(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """Return the mean loss over all that is held out; ``advance`` is called as by :meth:`evaluate`."""
        return self._mean_loss(self._evaluation(), advance)

    def _mean_loss(self, batches: Iterable[Batch], advance: Callable[[int], None]) -> float:
        total, tokens, state = 0.0, 0, None
        for batch in batches:
            logits, state = self._read(batch, None if batch.first else state)
            loss, _ = softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED, reduction="sum")
            total += loss
            tokens += batch.tokens
            advance(batch.tokens)
        return total / tokens

    def state_dict(self) -> dict[str, Any]:
        """Return the position, the random state, the size of a sample, and the carried state under ``"arrays"``."""
        carried = [] if self._state is None else self._state
        arrays = {"h": carried} if isinstance(carried, np.ndarray) else dict(zip("hc", carried, strict=False))
        sample = {} if self._limit is None else {"evaluated": self._limit}
        return {"batches": self.batches.state_dict(), **super().state_dict(), **sample, "arrays": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken. Raises KeyError or ValueError for another task's state."""
        self.batches.load_state_dict(state["batches"])
        super().load_state_dict(state)
        limit = state.get("evaluated")  # older versions evaluated all
        self._limit_to(None if limit is None else checks.positive_int("evaluated", limit))
        arrays = state.get("arrays", {})
        h = arrays.get("h")
        self._state = (h, arrays["c"]) if "c" in arrays else h
