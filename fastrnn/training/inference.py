"""Evaluation of a model on examples, and its predictions for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core.arrays import Array
from ..distributed.communicator import SOLO, Communicator
from ..layers._symbolic.symbols import Spec, flat, mapped
from ..layers._symbolic.time_axes import lengths_of
from ..layers.base import Layer
from ._data.examples import Examples, laid_out
from ._data.output_axes import keywords, output_specs
from ._data.targets import check_steps
from .objectives import Means, Objective, check_class_ids


def measure(
    name: str, model: Layer, examples: Examples, objective: Objective, batch_size: int, communicator: Communicator = SOLO
) -> Means:
    """Return the losses and metrics of all examples, batched by similar length; ``name`` is the argument in errors.

    Ranks take turns: each measures every N-th batch.
    """
    means, checked = Means(), False
    for indices in examples.order(batch_size, by_length=True)[communicator.rank :: communicator.size]:
        batch = examples.batch(indices)
        outputs = model(*batch.inputs, **keywords(model, batch))
        if not checked:
            check_class_ids(examples, outputs, objective.loss, name)
        checked = True
        objective(outputs, batch, means)
    return means.over_ranks(communicator)


def evaluate(
    model: Layer,
    examples: Examples,
    *,
    loss: Any = "softmax_cross_entropy",
    metrics: Any = (),
    loss_weights: Sequence[float] | None = None,
    batch_size: int = 64,
) -> dict[str, float]:
    """Return the loss and the metrics, by name, as means over all unmasked positions of the examples.

    ``loss``, ``metrics`` and ``loss_weights`` are those of :func:`fastrnn.fit`. ``batch_size`` does not change the result.
    Raises TypeError or ValueError naming the argument.
    """
    examples = laid_out("examples", examples, model)
    objective = Objective(loss, metrics, loss_weights)
    check_steps("examples", model, examples, objective.loss)
    return objective.values(measure("examples", model, examples, objective, batch_size))


def predict(model: Layer, examples: Examples, batch_size: int = 64) -> Any:
    """Return the model's outputs for each example, in the order of the examples.

    Several outputs come in tuples, nested as the model nests them. The shape of each follows from the model's output:

    - ``[B, ...]`` becomes an array ``[N, ...]``.
    - ``[T, B, ...]``, or ``[B, T, ...]`` with ``batch_first``, becomes a list of N arrays ``[T_i, ...]`` without padding. If
      the inputs are arrays, it becomes an array ``[N, T, ...]``.
    - Any other ``[A, B, ...]``, such as a final state, becomes an array ``[N, A, ...]``.

    The model's shapes say which axis is time. For a layer that does not infer shapes, a few trial calls decide; in these an
    A that equals the length of *all* sequences is taken for time. Raises TypeError or ValueError naming the argument.
    """
    examples = laid_out("examples", examples, model)
    specs = output_specs(model, examples)
    layouts = [_Layout(spec, examples) for spec in flat(specs)]
    collected: list[list[Any]] = [[None] * len(examples) for _ in layouts]
    for indices in examples.order(batch_size, by_length=True):
        batch = examples.batch(indices)
        outputs = model(*batch.inputs, **keywords(model, batch))
        for parts, output, layout in zip(collected, flat(outputs), layouts, strict=True):
            for b, i in enumerate(indices.tolist()):
                parts[i] = layout.example(output, b, i)
    results = (parts if layout.ragged else np.stack(parts) for parts, layout in zip(collected, layouts, strict=True))
    return mapped(specs, lambda _: next(results))


class _Layout:
    """Positions and lengths of the examples in an output of this spec. Raises TypeError if the spec has no batch axis."""

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
        """Return example i, which is the b-th in its batch, without padding."""
        one: Array = output[b] if self.rows else output[:, b]
        if self.lengths is not None:
            one = one[: self.lengths[i]]
        return one if self.rows and not self.ragged else one.copy()
