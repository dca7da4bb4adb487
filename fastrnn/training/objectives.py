"""Losses and metrics by name, and their exact means over many batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import losses, metrics
from .._core import checks
from .._core.arrays import Array
from ..distributed.communicator import Communicator
from ..losses import IGNORED
from ._data.examples import Batch, Examples
from ._data.padded_field import Field

Loss = Callable[[Any, Any, Any], tuple[float, Any]]
Metric = Callable[[Any, Any, Any], float]

LOSSES: dict[str, Callable[..., tuple[float, Array]]] = {
    "softmax_cross_entropy": losses.softmax_cross_entropy,
    "sigmoid_binary_cross_entropy": losses.sigmoid_binary_cross_entropy,
    "mean_squared_error": losses.mean_squared_error,
    "crf_nll": losses.crf_nll,
}
METRICS: dict[str, Metric] = {
    "accuracy": metrics.accuracy,
    "binary_accuracy": metrics.binary_accuracy,
    "mean_absolute_error": metrics.mean_absolute_error,
}


class Means:
    """Means by name over batches, each weighted by its number of unmasked positions; ``sums`` is serialisable as JSON."""

    def __init__(self, sums: Mapping[str, Sequence[float]] | None = None) -> None:
        self.sums = {name: (float(total), float(count)) for name, (total, count) in (sums or {}).items()}

    def add(self, name: str, value: float, count: int) -> None:
        """Add the mean of one batch; a batch with ``count`` 0 contributes nothing."""
        total, before = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (total + value * count, before + count) if count else (total, before)

    def over_ranks(self, communicator: Communicator) -> Means:
        """Return the means over the batches of all ranks."""
        if communicator.size == 1:
            return self
        whole = Means()
        for sums in communicator.gather(self.sums):
            for name, (total, count) in sums.items():
                before = whole.sums.get(name, (0.0, 0.0))
                whole.sums[name] = before[0] + total, before[1] + count
        return whole

    def __getitem__(self, name: str) -> float:
        total, count = self.sums.get(name, (0.0, 0.0))
        return total / count if count else math.nan


class Objective:
    """Losses, their weights, and metrics of a model with one output or several.

    Raises TypeError or ValueError naming the argument.

    Parameters
    ----------
    loss
        A name, or a function ``loss(outputs, targets, mask) -> (value, gradient)`` that returns the mean over unmasked
        positions. A model of several outputs takes a tuple with one for each, one name for all, or one function of tuples.
    metrics
        Names, functions ``metric(outputs, targets, mask) -> mean``, or a mapping from names to functions.
    weights
        The weight of each loss in their sum; None for 1.
    """

    def __init__(self, loss: Any, metrics: Any = (), weights: Sequence[float] | None = None) -> None:
        self.loss = tuple(_known("loss", item, LOSSES) for item in loss) if isinstance(loss, tuple) else loss
        if not isinstance(loss, tuple):
            _known("loss", loss, LOSSES)
        self.metrics = _named_metrics(metrics)
        if weights is not None and not isinstance(weights, Iterable):
            raise TypeError(f"loss_weights must be a number for each loss, got {checks.describe(weights)}")
        self.weights = None if weights is None else tuple(checks.number("loss_weights", weight, 0.0) for weight in weights)

    def several(self, examples: Examples) -> bool:
        """Return whether each of several outputs has a loss of its own."""
        return examples.several_targets and not callable(self.loss)

    def names(self, examples: Examples) -> list[str]:
        """Return the names of all losses and metrics for examples of this kind."""
        each = [f"_{i}" for i in range(len(examples.targets))] if self.several(examples) else [""]
        found = ["loss", *(f"loss{i}" for i in each if i)]
        return found + [
            name + i for name, metric in self.metrics.items() for i in (each if metric in METRICS.values() else [""])
        ]

    def __call__(
        self, outputs: Any, batch: Batch, means: Means, across: Callable[[list[int]], list[float]] | None = None
    ) -> tuple[float, Any, int]:
        """Return the loss of a batch, the gradients for the model's backward pass, and the number of unmasked positions.

        The losses and metrics are added to ``means``. If the batch is part of a larger one, ``across`` maps the number of
        unmasked positions of each output to a factor of its loss. Raises TypeError or ValueError for outputs that do not
        fit.
        """
        if batch.targets is None:
            raise ValueError("targets must be given for a loss, got examples without")
        if isinstance(outputs, tuple) and not callable(self.loss):
            value, found, count = self._several(outputs, batch, means, across)
        else:
            if isinstance(self.loss, tuple):
                raise ValueError(f"loss must be a single one for a model of one output, got {len(self.loss)}")
            if self.weights is not None:
                raise ValueError("loss_weights are for several outputs, each with a loss of its own, got one loss")
            value, gradient, count = _apply(self.loss, outputs, batch.targets, batch.mask)
            found = gradient if isinstance(outputs, tuple) else (gradient,)
            means.add("loss", value, count)
        self._measure(outputs, batch, means)
        return value, found, count

    def _several(
        self, outputs: tuple[Any, ...], batch: Batch, means: Means, across: Callable[[list[int]], list[float]] | None
    ) -> tuple[float, Any, int]:
        targets, masks, number = batch.targets, batch.mask, len(outputs)
        if not isinstance(targets, tuple) or len(targets) != number:
            raise ValueError(f"targets must be a tuple of {number}, one for each output, got {_number(targets)}")
        chosen = self.loss if isinstance(self.loss, tuple) else (self.loss,) * number
        weights = (1.0,) * number if self.weights is None else self.weights
        for name, given in (("loss", chosen), ("loss_weights", weights)):
            if len(given) != number:
                raise ValueError(f"{name} must have one for each of {number} outputs, got {len(given)}")
        applied = [_apply(loss, outputs[i], targets[i], masks[i]) for i, loss in enumerate(chosen)]
        counts = [count for _, _, count in applied]
        factors = [1.0] * number if across is None else across(counts)
        total, gradients = 0.0, []
        for i, ((value, gradient, count), weight, factor) in enumerate(zip(applied, weights, factors, strict=True)):
            means.add(f"loss_{i}", value, count)
            scale = weight * factor
            total += scale * value if factor else 0.0
            gradients.append(gradient if scale == 1 else gradient * gradient.dtype.type(scale))
        return total, tuple(gradients), max(counts)

    def _measure(self, outputs: Any, batch: Batch, means: Means) -> None:
        for name, metric in self.metrics.items():
            # A built-in metric takes one output; a user's function gets all of them.
            if isinstance(outputs, tuple) and metric in METRICS.values():
                for i, output in enumerate(outputs):
                    count = count_of(batch.targets[i], batch.mask[i], len(batch.indices))
                    value = metric(output, batch.targets[i], batch.mask[i])
                    means.add(f"{name}_{i}", _float(name, value), count)
            else:
                count = count_of(batch.targets, batch.mask, len(batch.indices))
                means.add(name, _float(name, metric(outputs, batch.targets, batch.mask)), count)

    def values(self, means: Means, prefix: str = "") -> dict[str, float]:
        """Return the means by name, the loss first. The loss of several outputs is their weighted sum."""
        names = [name for name in means.sums if name != "loss"]
        parts = [name for name in names if name.startswith("loss_")]
        weights = self.weights or (1.0,) * len(parts)
        counted = [(weight, part) for weight, part in zip(weights, parts, strict=True) if means.sums[part][1]]
        loss = sum(weight * means[part] for weight, part in counted) if counted else means["loss"]
        return {f"{prefix}loss": loss, **{prefix + name: means[name] for name in names}}


def _known(name: str, item: Any, known: Mapping[str, Any]) -> Any:
    """Return ``item`` if it is one of the known names or a function. Raises TypeError or ValueError."""
    if isinstance(item, str):
        return checks.choice(name, item, tuple(known))
    if not callable(item):
        options = ", ".join(map(repr, known))
        raise TypeError(
            f"{name} must be a function(outputs, targets, mask) or one of {options}, got {checks.describe(item)}"
        )
    return item


def _named_metrics(given: Any) -> dict[str, Metric]:
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        if not (isinstance(given, Iterable) or callable(given)):
            raise TypeError(f"metrics must be names or functions, () for none, got {checks.describe(given)}")
        items = [given] if isinstance(given, str) or callable(given) else list(given)
        pairs = [(item if isinstance(item, str) else getattr(item, "__name__", type(item).__name__), item) for item in items]
    found: dict[str, Metric] = {}
    for name, item in pairs:
        known = _known("metrics", item, METRICS)
        if name in found or name == "loss" or name.startswith("loss_"):
            raise ValueError(f"metrics must have unique names, got {name!r} twice or as the name of a loss")
        if name in ("epoch", "lr") or name.startswith("val_"):
            raise ValueError(f"metrics must not be named epoch, lr or val_..., which a history has of its own, got {name!r}")
        found[name] = METRICS[known] if isinstance(known, str) else known
    return found


def _apply(loss: Any, outputs: Any, targets: Any, mask: Any) -> tuple[float, Any, int]:
    """Return the value, the gradient, and the number of unmasked positions."""
    if isinstance(loss, str):
        value, gradient = LOSSES[loss](outputs, targets, mask=mask)
    else:
        result = loss(outputs, targets, mask)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"loss must return (value, gradient), got {checks.describe(result)}")
        value, gradient = result
    return _float("loss", value), gradient, count_of(targets, mask, len(outputs))


def _float(name: str, value: Any) -> float:
    """Return the value of a loss or metric. Raises TypeError naming the function if it is not one number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must return one number as its mean, got {checks.describe(value)}") from None


def count_of(targets: Any, mask: Any, otherwise: int) -> int:
    """Return the number of unmasked positions, or ``otherwise`` if the targets are not one array."""
    if not isinstance(targets, np.ndarray):
        return otherwise
    unmasked = metrics.counted(targets, mask)
    return len(targets) if unmasked is None else int(np.count_nonzero(unmasked))


def _number(targets: Any) -> str:
    return f"{len(targets)}" if isinstance(targets, tuple) else "one field that is not in a tuple"


def check_class_ids(examples: Examples, outputs: Any, loss: Any, name: str) -> None:
    """Raise ValueError, naming the example, for a class id out of range for a softmax over ``outputs [..., V]``.

    The loss also checks this, but only once the batch comes up, after training has started.
    """
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    chosen = loss if isinstance(loss, tuple) else (loss,) * len(several)
    for output, field, its in zip(several, examples.targets, chosen, strict=False):
        if its == "softmax_cross_entropy" and field.is_ids and isinstance(output, np.ndarray) and output.ndim:
            _check_ids(field, output.shape[-1], name)


def _check_ids(field: Field, V: int, name: str) -> None:
    if field.rows.min(initial=0) >= 0 and field.rows.max(initial=0) < V:
        return
    ids, owners = field.flat()
    wrong = (ids != IGNORED) & ((ids < 0) | (ids >= V))
    if wrong.any():
        raise ValueError(
            f"{name}.targets must hold class ids in 0..{V - 1}, as the model has {V} outputs, or {IGNORED}; "
            f"got {ids[wrong][0]} in example {owners[np.argwhere(wrong)[0, 0]]}"
        )
