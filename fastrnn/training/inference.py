"""A model over examples: its figures, and its outputs in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers._symbolic.symbols import Spec, flat, mapped
from ..layers._symbolic.time_axes import lengths_of
from ..layers.base import Layer
from ._data.examples import Examples, laid_out
from ._data.output_axes import keywords, output_specs
from ._data.targets import check_steps
from .objectives import Means, Objective, check_class_ids

Array = NDArray[Any]


def measure(name: str, model: Layer, examples: Examples, objective: Objective, batch_size: int) -> Means:
    """The losses and metrics of all examples, those of like length together."""
    means, checked = Means(), False
    for batch in examples.batches(batch_size, by_length=True):
        outputs = model(*batch.inputs, **keywords(model, batch))
        if not checked:
            check_class_ids(examples, outputs, objective.loss, name)
        checked = True
        objective(outputs, batch, means)
    return means


def evaluate(
    model: Layer,
    examples: Examples,
    *,
    loss: Any = "softmax_cross_entropy",
    metrics: Any = (),
    loss_weights: Sequence[float] | None = None,
    batch_size: int = 64,
) -> dict[str, float]:
    """The loss, and metrics by name, over all examples: means over all that counts, whatever the batches.

    ``loss``, ``metrics`` and ``loss_weights`` as in :func:`fastrnn.fit`. Raises TypeError or ValueError naming the argument.
    """
    examples = laid_out("examples", examples, model)
    objective = Objective(loss, metrics, loss_weights)
    check_steps("examples", model, examples, objective.loss)
    return objective.figures(measure("examples", model, examples, objective, batch_size))


def predict(model: Layer, examples: Examples, batch_size: int = 64) -> Any:
    """The model's outputs for each example, in the examples' order.

    An output ``[B, ...]`` comes as an array ``[N, ...]``, one over time, ``[T, B, ...]`` or with ``batch_first`` ``[B, T,
    ...]``, as a list of N arrays ``[T_i, ...]`` without padding, or as an array ``[N, T, ...]`` where the inputs were one;
    any other ``[A, B, ...]``, such as a final state, as an array ``[N, A, ...]``. Several outputs come in tuples, nested as
    the model's. Which axis is time, the model's shapes say, and of a layer that cannot be asked a few trials, in which an A
    that is the length of *all* sequences passes for time. Raises TypeError or ValueError naming the argument.
    """
    examples = laid_out("examples", examples, model)
    specs = output_specs(model, examples)
    layouts = [_Layout(spec, examples) for spec in flat(specs)]
    collected: list[list[Any]] = [[None] * len(examples) for _ in layouts]
    for indices in examples.order(batch_size, by_length=True):
        batch = examples.batch(indices)
        outputs = model(*batch.inputs, **keywords(model, batch))
        for kept, output, layout in zip(collected, flat(outputs), layouts, strict=True):
            for b, i in enumerate(indices.tolist()):
                kept[i] = layout.example(output, b, i)
    results = (kept if layout.ragged else np.stack(kept) for kept, layout in zip(collected, layouts, strict=True))
    return mapped(specs, lambda _: next(results))


class _Layout:
    """The places of the examples in an output of this spec, and their lengths. Raises TypeError for one without a batch."""

    def __init__(self, spec: Spec, examples: Examples) -> None:
        shape = spec.shape
        if "B" not in shape[:2]:
            raise TypeError(f"model must give arrays [B, ...] or [T, B, ...], got one of shape {spec.axes}")
        self.rows = shape[0] == "B"
        time = shape[1] if self.rows and len(shape) > 1 else shape[0]
        self.lengths = lengths_of(time, examples.time_axes())
        stacked = all(field.stacked for field in examples.inputs if field.lengths is not None)
        self.ragged = self.lengths is not None and not stacked

    def example(self, output: Array, b: int, i: int) -> Array:
        """Return example i, the b-th in its batch, without padding."""
        one: Array = output[b] if self.rows else output[:, b]
        if self.lengths is not None:
            one = one[: self.lengths[i]]
        return one if self.rows and not self.ragged else one.copy()
