"""Training a language model on text: what the training loop is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers.parameter import Parameter
from ..losses import softmax_cross_entropy
from .batching import IGNORED, Batch, LineBatches, StreamBatches
from .char_model import CharModel
from .evaluation import LineEvaluation, StreamEvaluation

Array = NDArray[Any]


class CharTask:
    """A model with its batches; a :class:`fastrnn.training.Task`.

    In a stream each chunk starts from the state that the one before left, detached from it: truncated backpropagation
    through time. ``evaluation`` gives the held-out batches, from the beginning, each time it is called; one of
    :mod:`fastrnn.text.evaluation` can give a sample of them. ``rng`` is what the model's dropout draws from.
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
        self._limit: int | None = None  # tokens that are evaluated; None is all
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
        """The tokens that :meth:`evaluate` counts, about, and those held out; both 0 where that is not known."""
        held = getattr(self._evaluation, "tokens", 0)
        return held if self._limit is None else self._limit, held

    def limit_evaluation(self, tokens: int, small: int) -> None:
        """See :class:`fastrnn.training.pace.SampledTask`."""
        held = self.evaluated[1]
        self._limit = tokens if held > max(tokens, small) else None

    def evaluate(self) -> float:
        """The mean loss over the held-out text or its sample, nats per token, with the state carried through a stream."""
        if self._limit is None or not isinstance(self._evaluation, (LineEvaluation, StreamEvaluation)):
            return self.evaluate_in_full()
        return self._mean_loss(self._evaluation(self._limit))

    def evaluate_in_full(self, advance: Callable[[int], None] = lambda tokens: None) -> float:
        """The mean loss over the whole held-out text; ``advance`` is told of each batch's tokens."""
        return self._mean_loss(self._evaluation(), advance)

    def _mean_loss(self, batches: Iterable[Batch], advance: Callable[[int], None] = lambda tokens: None) -> float:
        total, tokens, state = 0.0, 0, None
        for batch in batches:
            logits, state = self.model(batch.inputs, None if batch.first else state, batch.lengths)
            loss, _ = softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED, reduction="sum")
            total += loss
            tokens += batch.tokens
            advance(batch.targets.size if batch.lengths is None else batch.tokens)  # what is read, if not counted
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
        self._limit = state.get("evaluated")
        arrays = state.get("arrays", {})
        h = arrays.get("h")
        self._state = (h, arrays["c"]) if "c" in arrays else h
