"""A model over examples: its figures, and its outputs in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..layers.base import Layer
from ..layers.sequential import Sequential
from ..layers.symbols import Symbol, flat, mapped
from .examples import Batch, Examples
from .objectives import Means, Objective, check_class_ids
from .targets import check_steps

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


def _symbols(model: Layer, which: str = "inputs") -> tuple[Symbol, ...]:
    """The symbols that a Model was made of; nothing for any other layer."""
    found = tuple(flat(getattr(model, which, ())))
    return found if all(isinstance(symbol, Symbol) for symbol in found) else ()


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
    check_steps("examples", model, examples, objective.loss)
    return objective.figures(measure("examples", model, examples, objective, batch_size))


def predict(model: Layer, examples: Examples, batch_size: int = 64) -> Any:
    """The model's outputs for each example, in the examples' order.

    An output ``[B, ...]`` comes as an array ``[N, ...]``, one over time, ``[T, B, ...]``, as a list of N arrays
    ``[T_i, ...]`` without padding, any other ``[A, B, ...]``, such as a final state, as an array ``[N, A, ...]``. Several
    outputs come in tuples, nested as the model's. Which axes of a Model's outputs are time, its symbols say; those of
    another layer are looked at in trials, in which an A that is the length of *all* sequences passes for time. Raises
    TypeError or ValueError naming the argument.
    """
    examples = suited("examples", examples, model)
    axes = examples.time_axes()
    layouts = _layouts(model, examples, axes)
    collected: list[list[Any]] = [[None] * len(examples) for _ in layouts]
    for indices in examples.order(batch_size, by_length=True):
        batch = examples.batch(indices)
        outputs = model(*batch.inputs, **keywords(batch))
        for kept, output, layout in zip(collected, flat(outputs), layouts, strict=True):
            lengths = axes[layout][indices] if layout in axes else None
            for b, i in enumerate(indices.tolist()):
                kept[i] = output[b] if layout == ROWS else output[: None if lengths is None else lengths[b], b].copy()
    results = (kept if layout in axes else np.stack(kept) for kept, layout in zip(collected, layouts, strict=True))
    return mapped(outputs, lambda _: next(results))


ROWS, STATES = "[B, ...]", "[A, B, ...]"  # what an output is; over a known time axis: that axis' name


def _layouts(model: Layer, examples: Examples, axes: Mapping[str, Array]) -> list[str]:
    """What each output is: as a Model's symbols say, else as it turns out in a few trials.

    The trials' B are 1, 2, 3... and their lengths are not: the first is not below the least, which is that of a later one.
    """
    symbols = _symbols(model, "outputs")
    if symbols:
        return [_layout(symbol.shape, "B", {name: name for name in axes}) for symbol in symbols]
    lengths = np.stack(list(axes.values())) if axes else np.zeros((1, len(examples)), np.int64)
    unlike = int(np.argmax([len(set(column)) for column in lengths.T.tolist()]))
    chosen = [unlike, *lengths.argmin(axis=1).tolist(), *lengths.argmax(axis=1).tolist()]
    trials = []
    for B, example in enumerate(chosen, 1):
        batch = examples.batch(np.full(B, example))
        trials.append(list(flat(model(*batch.inputs, **keywords(batch)))))
    # A batch has one step at least, whatever its sequences have.
    names = {tuple(np.maximum(of_all[chosen], 1).tolist()): name for name, of_all in reversed(list(axes.items()))}
    batches = tuple(range(1, len(chosen) + 1))
    return [
        _layout(list(zip(*map(np.shape, outputs), strict=False)), batches, names) for outputs in zip(*trials, strict=True)
    ]


def _layout(shape: Sequence[Any], batch: Any, names: Mapping[Any, str]) -> str:
    """What an output of this shape is, whose axes are letters or each the sizes that it has in some trials."""
    if batch not in shape[:2]:
        raise TypeError(
            f"model must give arrays [B, ...] or [T, B, ...], got one of shape {tuple(shape)}, where B is {batch}"
        )
    return ROWS if shape[0] == batch else names.get(shape[0], STATES)
