"""A model over examples: its figures, and its outputs in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..layers.base import Layer
from ..layers.sequential import Sequential
from .examples import Batch, Examples
from .objectives import Means, Objective, check_class_ids

Array = NDArray[Any]


def check_examples(name: str, value: object) -> Examples:
    """Raise TypeError naming the argument for what is not Examples."""
    if not isinstance(value, Examples):
        raise TypeError(f"{name} must be fastrnn.Examples(inputs, targets), got {checks.describe(value)}")
    return value


def suited(name: str, examples: Examples, model: Layer) -> Examples:
    """The examples with their time axes named as the model's inputs name them. Raises TypeError or ValueError."""
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a fastrnn layer, got {checks.describe(model)}")
    given, symbols = len(check_examples(name, examples).inputs), _symbols(model)
    wanted = len(symbols) if symbols else 1 if isinstance(model, Sequential) else given
    if wanted != given:
        raise ValueError(f"{name} must have as many inputs as the model, {wanted}, got {given}")
    return examples.with_axes([_time_axis(symbol.shape) for symbol in symbols]) if symbols else examples


def _symbols(model: Layer) -> tuple[Any, ...]:
    """The symbols that a Model is called with; nothing for any other layer."""
    inputs = getattr(model, "inputs", ())
    symbols = inputs if isinstance(inputs, tuple) else (inputs,)
    return symbols if all(isinstance(getattr(symbol, "shape", None), tuple) for symbol in symbols) else ()


def _time_axis(shape: Sequence[Any]) -> Any:
    """The name of an input's time axis, its first where the second is B; the size where that is fixed."""
    return shape[0] if len(shape) > 1 and shape[1] == "B" else None


def keywords(batch: Batch) -> dict[str, Any]:
    """``lengths`` where there are any: a layer that knows of no time is called without."""
    return {} if batch.lengths is None else {"lengths": batch.lengths}


def measure(name: str, model: Layer, examples: Examples, objective: Objective, batch_size: int) -> Means:
    """The losses and metrics of all examples, those of like length together."""
    means, checked = Means(), False
    for batch in examples.batches(batch_size, by_length=True):
        outputs = model(*batch.inputs, **keywords(batch))
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
    examples = suited("examples", examples, model)
    objective = Objective(loss, metrics, loss_weights)
    return objective.figures(measure("examples'", model, examples, objective, batch_size))


def predict(model: Layer, examples: Examples, batch_size: int = 64) -> Any:
    """The model's outputs for each example, in the examples' order.

    An output ``[B, ...]`` comes as an array ``[N, ...]``, one over time, ``[T, B, ...]``, as a list of N arrays
    ``[T_i, ...]`` without padding (as an array ``[N, T, ...]`` where its T is fixed, and no input's). Several outputs
    come as a tuple. Raises TypeError or ValueError naming the argument.
    """
    examples = suited("examples", examples, model)
    axes, layouts = examples.time_axes(), None
    collected: list[list[Any]] = []
    for indices in examples.order(batch_size, by_length=True):
        batch = examples.batch(indices)
        outputs = model(*batch.inputs, **keywords(batch))
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        if layouts is None:
            layouts = _layouts(model, examples, axes)
            collected = [[None] * len(examples) for _ in several]
        for kept, output, layout in zip(collected, several, layouts, strict=True):
            lengths = axes[layout][indices] if layout in axes else None
            for b, i in enumerate(indices.tolist()):
                kept[i] = output[b] if layout == ROWS else output[: None if lengths is None else lengths[b], b].copy()
    assert layouts is not None
    results = [kept if layout in axes else np.stack(kept) for kept, layout in zip(collected, layouts, strict=True)]
    return tuple(results) if isinstance(outputs, tuple) else results[0]


ROWS, STEPS = "[B, ...]", "[T, B, ...] of a fixed T"  # what an output is; over a known time axis: that axis' name


def _layouts(model: Layer, examples: Examples, axes: Mapping[str, Array]) -> list[str]:
    """What each output is, from that of a batch in which B is no sequence's length."""
    lengths = np.stack(list(axes.values())) if axes else np.zeros((1, len(examples)), np.int64)
    different = [len(set(column)) for column in lengths.T.tolist()]
    example = int(np.argmax(different))
    B = 1 if (lengths[:, example] != 1).all() else int(lengths[:, example].max()) + 1
    batch = examples.batch(np.full(B, example))
    outputs = model(*batch.inputs, **keywords(batch))
    by_length = {int(length[example]): name for name, length in reversed(list(axes.items()))}
    found = []
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        if not isinstance(output, np.ndarray) or B not in output.shape[:2]:
            raise TypeError(f"model must give arrays [B, ...] or [T, B, ...], got {checks.describe(output)} for B={B}")
        found.append(ROWS if output.shape[0] == B else by_length.get(output.shape[0], STEPS))
    return found
