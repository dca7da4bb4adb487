"""Training a language model on text: what the training loop is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers.parameter import Parameter
from ..losses import softmax_cross_entropy
from .batching import IGNORED, Batch, LineBatches, StreamBatches
from .char_model import CharModel

Array = NDArray[Any]


class CharTask:
    """A model with its batches; a :class:`fastrnn.training.Task`.

    In a stream each chunk starts from the state that the one before left, detached from it: truncated backpropagation
    through time. ``evaluation`` gives the held-out batches, from the beginning, each time it is called. ``rng`` is
    what the model's dropout draws from.
    """

    def __init__(
        self,
        model: CharModel,
        batches: LineBatches | StreamBatches,
        evaluation: Callable[[], Iterable[Batch]],
        rng: np.random.Generator,
    ) -> None:
        self.model = model
        self.batches = batches
        self._evaluation = evaluation
        self._rng = rng
        self._state: Any = None
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

    def evaluate(self) -> float:
        """The mean loss over the whole held-out text, nats per token, with the state carried through a stream."""
        total, tokens, state = 0.0, 0, None
        for batch in self._evaluation():
            logits, state = self.model(batch.inputs, None if batch.first else state, batch.lengths)
            loss, _ = softmax_cross_entropy(logits, batch.targets, ignore_index=IGNORED, reduction="sum")
            total += loss
            tokens += batch.tokens
        return total / tokens

    def state_dict(self) -> dict[str, Any]:
        """Position, random state, and the carried state under ``"arrays"``."""
        carried = [] if self._state is None else self._state
        arrays = {"h": carried} if isinstance(carried, np.ndarray) else dict(zip("hc", carried, strict=False))
        return {"batches": self.batches.state_dict(), "rng": self._rng.bit_generator.state, "arrays": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken. Raises KeyError or ValueError for another task's state."""
        self.batches.load_state_dict(state["batches"])
        self._rng.bit_generator.state = state["rng"]
        arrays = state.get("arrays", {})
        h = arrays.get("h")
        self._state = (h, arrays["c"]) if "c" in arrays else h
