"""Training a language model on text: what the training loop is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core import checks
from ..._core.parameter import Parameter
from ...losses import softmax_cross_entropy
from ..char_model import CharModel
from .batching import IGNORED, Batch, LineBatches, StreamBatches
from .evaluation import LineEvaluation, StreamEvaluation

Array = NDArray[Any]


class CharTask:
    """A model with its batches; a :class:`fastrnn.training.Task`.

    In a stream each chunk starts from the state that the one before left, detached from it: truncated backpropagation
    through time. ``evaluation`` gives the held-out batches, from the beginning, each time it is called; one of
    :mod:`fastrnn.text._training.evaluation` can give a sample of them. ``rng`` is what the model's dropout draws from.
    """

    def __init__(
        self,
        model: CharModel,
        batches: LineBatches | StreamBatches,
        evaluation: Callable[[], Iterable[Batch]] | LineEvaluation | StreamEvaluation,
        rng: np.random.Generator,
    ) -> None:
        self.model = model
        self.batches = batches
        self._evaluation = evaluation
        self._rng = rng
        self._state: Any = None
        self._limit: int | None = None  # tokens that are read in an evaluation; None is all
        self._counted = self._held
        model.set_rng(rng)

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """The model's."""
        return self.model.named_parameters()

    def train_step(self) -> tuple[float, int]:
        """Forward and backward over the next batch: the mean loss in nats per token, and how many were counted."""
        batch = self.batches.next()
        state = None if batch.first else self._state
        loss, self._state = self.model.learn(batch.inputs, batch.targets, state, batch.lengths, ignore_index=IGNORED)
        return loss, batch.tokens

    @property
    def evaluated(self) -> tuple[int, int]:
        """The tokens that :meth:`evaluate` counts, and those held out; both 0 where that is not known."""
        return self._counted, self._held

    @property
    def _held(self) -> int:
        return getattr(self._evaluation, "tokens", 0)

    def limit_evaluation(self, tokens: int) -> None:
        """Let :meth:`evaluate` read about so many ``tokens``; all, if no more are held out."""
        self._limit_to(tokens if self._held > tokens else None)

    def _limit_to(self, tokens: int | None) -> None:
        self._limit = tokens
        self._counted = self._held if tokens is None else sum(batch.tokens for batch in self._sample())

    def _sample(self) -> Iterable[Batch]:
        if self._limit is None or not isinstance(self._evaluation, (LineEvaluation, StreamEvaluation)):
            return self._evaluation()
        return self._evaluation(self._limit)

    def evaluate(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """The mean loss over the held-out text or its sample, nats per token, with the state carried through a stream.

        ``advance`` is called with how many tokens more have been counted.
        """
        return self._mean_loss(self._sample(), advance)

    def evaluate_in_full(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """The mean loss over the whole held-out text; ``advance`` is called as by :meth:`evaluate`."""
        return self._mean_loss(self._evaluation(), advance)

    def _mean_loss(self, batches: Iterable[Batch], advance: Callable[[int], None] = lambda tokens: None) -> float:
        total, tokens, state = 0.0, 0, None
        for batch in batches:
            logits, state = self.model(batch.inputs, None if batch.first else state, batch.lengths)
            loss, _ = softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED, reduction="sum")
            total += loss
            tokens += batch.tokens
            advance(batch.tokens)
        return total / tokens

    def state_dict(self) -> dict[str, Any]:
        """Position, random state, the size of a sample, and the carried state under ``"arrays"``."""
        carried = [] if self._state is None else self._state
        arrays = {"h": carried} if isinstance(carried, np.ndarray) else dict(zip("hc", carried, strict=False))
        sample: Mapping[str, int] = {} if self._limit is None else {"evaluated": self._limit}
        return {"batches": self.batches.state_dict(), "rng": self._rng.bit_generator.state, **sample, "arrays": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken. Raises KeyError or ValueError for another task's state."""
        self.batches.load_state_dict(state["batches"])
        self._rng.bit_generator.state = state["rng"]
        limit = state.get("evaluated")  # older versions evaluated all
        self._limit_to(None if limit is None else checks.positive_int("evaluated", limit))
        arrays = state.get("arrays", {})
        h = arrays.get("h")
        self._state = (h, arrays["c"]) if "c" in arrays else h
