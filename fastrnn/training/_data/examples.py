"""Datasets of examples, and the padded batches that models take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import init
from ..._core import checks
from ..._core.arrays import Array
from ...losses import IGNORED
from .padded_field import Field, fields
from .time_layout import lay_out

if TYPE_CHECKING:
    from ...layers.base import Layer

Lengths = Array | dict[str, Array] | None
Axis = str | int | None

NOTHING = -1  # the padding of ids in inputs, which stands for the zero vector
POOL = 32  # batches among which a shuffled epoch groups sequences of similar length


@dataclass(frozen=True, slots=True)
class Batch:
    """Batch of B examples.

    T is the length of the longest sequence, at least 1. A model with ``batch_first`` gets ``[B, T, ...]`` and ``[B, T]``
    instead of ``[T, B, ...]`` and ``[T, B]``.

    Attributes
    ----------
    inputs
        Arrays ``[B, ...]``, or sequences ``[T, B, ...]`` in which ids are padded with -1 and floats with 0.
    targets
        An array, a tuple of arrays, or None, as in the examples. Sequences of ids are padded with -100, floats with 0.
    lengths
        int64 ``[B]``, a dict of these by the name of the time axis, or None without sequences.
    mask
        bool ``[T, B]`` for targets that are sequences, None for others, which all count. A tuple if the targets are one.
    indices
        int64 ``[B]``, the positions of the examples in the dataset.
    """

    inputs: tuple[Array, ...]
    targets: Any
    lengths: Lengths
    mask: Any
    indices: Array

    @property
    def size(self) -> int:
        """The number of examples."""
        return len(self.indices)


class Examples:
    """Dataset of N examples: inputs and, for training, targets.

    A list of sequences has a time axis. An array ``[N, T, ...]`` has one if the model reads time, and is then the same as
    the list of its sequences. A ``Model`` reads time if its ``Input`` has a time axis; any other layer, if it takes ``[T, B,
    ...]`` and refuses ``[B, ...]``. Targets have the axes of the output that they belong to. :meth:`for_model` applies this
    rule, and :func:`fastrnn.fit`, ``evaluate`` and ``predict`` call it. Without a model an array has no time.

    A sequence may be empty. Raises TypeError or ValueError naming the argument: for no examples, unequal N, NaN, or a dtype
    other than integers, float32 and float64.

    Parameters
    ----------
    inputs, targets
        A field or a tuple of fields. A field is an array ``[N, ...]`` or a list of N sequences ``[T_i, ...]``, which are
        arrays or Python lists of ids or numbers.
    axes
        The name of each input's time axis, a number if its length is fixed, or None for an input without time:
        ``Examples((source, target), following, axes=("S", "T"))``. It is needed if inputs differ in length. Inputs with the
        same axis have the same lengths, and an array whose axis is named has time. A ``Model`` replaces the names by its
        own.
    """

    # The time axis of each input: a name, a number if its length is fixed, or None. The whole is None until it is known.
    _axes: tuple[Axis, ...] | None = None
    declared = False  # whether the caller named the axes

    def __init__(self, inputs: Any, targets: Any = None, *, axes: Sequence[Axis] | str | None = None) -> None:
        made = fields("inputs", inputs)
        goals = () if targets is None else fields("targets", targets)
        if goals and len(goals[0]) != len(made[0]):
            raise ValueError(f"targets must have as many examples as inputs, {len(made[0])}, got {len(goals[0])}")
        several = isinstance(targets, tuple)
        self._set(made, goals, several)
        if axes is None:
            self._axes = self._shared_axis()
        else:
            self._name_axes((axes,) if isinstance(axes, str) else axes)
            self.declared = True

    def _set(self, inputs: tuple[Field, ...], targets: tuple[Field, ...], several: bool) -> None:
        self.inputs, self.targets, self.several_targets = inputs, targets, several

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __getitem__(self, chosen: slice | Sequence[int] | Array) -> Examples:
        """Return the examples at a slice or at indices ``[n]``. Raises IndexError, TypeError or ValueError."""
        indices = np.arange(len(self))[chosen]
        if indices.ndim != 1 or not len(indices):
            raise ValueError(
                f"examples must be chosen by a slice or indices [n], at least one, got {checks.describe(chosen)}"
            )
        inputs, targets = ([field.take(indices) for field in group] for group in (self.inputs, self.targets))
        return self.with_fields(inputs, targets)

    def split(self, fraction: float, rng: np.random.Generator | int = 0) -> tuple[Examples, Examples]:
        """Return a shuffled split: about ``fraction`` of the examples, and the rest, at least one each.

        ``rng`` is a generator or a seed.
        """
        checks.number("fraction", fraction, 0.0, 1.0)
        if len(self) < 2:
            raise ValueError(f"examples must be at least 2 to be split, got {len(self)}")
        order = init.generator(rng).permutation(len(self))
        cut = min(max(1, round(fraction * len(self))), len(self) - 1)
        return self[order[:cut]], self[order[cut:]]

    def with_axes(self, axes: Sequence[Axis]) -> Examples:
        """Return the same examples with new names of the inputs' time axes. Raises ValueError as the class does."""
        same = self.with_fields()
        same._name_axes(axes)
        return same

    def with_fields(self, inputs: Sequence[Field] | None = None, targets: Sequence[Field] | None = None) -> Examples:
        """Return examples with the same time axes and other inputs or targets."""
        other = Examples.__new__(Examples)
        fields = (self.inputs if inputs is None else tuple(inputs), self.targets if targets is None else tuple(targets))
        other._set(*fields, self.several_targets)
        other._axes, other.declared = self._axes, self.declared
        return other

    def for_model(self, model: Layer) -> Examples:
        """Return the same examples laid out for a model, by the rule of the class. Raises TypeError or ValueError.

        Your own training loop takes its batches from the result: ``train.for_model(model).batches(32, rng)``.
        """
        return lay_out("examples", self, model)

    def batches(
        self, batch_size: int, rng: np.random.Generator | None = None, *, by_length: bool | None = None
    ) -> Iterator[Batch]:
        """Return an iterator over batches that hold every example once; the last batch may be smaller.

        Parameters
        ----------
        batch_size
            The number of examples in a batch.
        rng
            The generator that shuffles the examples; None keeps their order.
        by_length
            Whether sequences of similar length come together, which saves padding; by default only when shuffled. The
            shuffled examples are then sorted by length within pools of 32 batches, cut, and the batches shuffled.
        """
        return (self.batch(indices) for indices in self.order(batch_size, rng, by_length=by_length))

    def order(
        self, batch_size: int, rng: np.random.Generator | None = None, *, by_length: bool | None = None
    ) -> list[Array]:
        """Return the indices of the examples in each of the :meth:`batches`."""
        size = checks.positive_int("batch_size", batch_size)
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy Generator or None, got {checks.describe(rng)}")
        sort = by_length if by_length is not None else rng is not None
        keys = self._sort_keys()
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        if not keys or not sort:
            return [order[i : i + size] for i in range(0, len(order), size)]
        pool = len(order) if rng is None else POOL * size
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        ordered = np.concatenate([part[np.lexsort([key[part] for key in keys])] for part in pools])
        batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
        return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]

    def _sort_keys(self) -> list[Array]:
        """Return the lengths by which sequences are sorted, the most important last."""
        return [field.lengths for field in (*self.targets, *reversed(self.inputs)) if field.lengths is not None]

    def longest(self, indices: Array) -> Array | None:
        """Return the length of the longest sequence of each example, or None without sequences."""
        keys = [key[indices] for key in self._sort_keys()]
        return np.max(keys, axis=0) if keys else None

    def batch(self, indices: Array, among: Array | None = None) -> Batch:
        """Return the batch of these examples, padded to the longest ``among`` a larger batch, by default among themselves.

        Raises ValueError if inputs differ in length and their axes have no names.
        """
        indices = np.asarray(indices, np.int64)
        among = indices if among is None else np.asarray(among, np.int64)
        inputs = tuple(field.batch(indices, NOTHING if field.is_ids else 0, among) for field in self.inputs)
        targets = tuple(field.batch(indices, IGNORED if field.is_ids else 0, among) for field in self.targets)
        masks = tuple(field.mask(indices, among) for field in self.targets)
        bare = len(targets) == 1 and not self.several_targets
        return Batch(
            inputs,
            (targets[0] if bare else targets) if targets else None,
            self.lengths(indices),
            (masks[0] if bare else masks) if targets else None,
            indices,
        )

    def axes(self) -> tuple[Axis, ...]:
        """Return each input's time axis: its name, its size if that is fixed, or None. Raises ValueError if not known."""
        if self._axes is None:
            raise ValueError(
                "inputs have sequences of different lengths: name the time axis of each, such as "
                f"Examples(inputs, targets, axes={tuple('STUVWXYZ'[: len(self.inputs)])})"
            )
        return self._axes

    def time_axes(self) -> dict[str, Array]:
        """Return the lengths of all examples, int64 ``[N]``, by the name of the time axis."""
        named = zip(self.axes(), self.inputs, strict=True)
        return {name: field.lengths for name, field in named if isinstance(name, str) and field.lengths is not None}

    def lengths(self, indices: Array) -> Lengths:
        """Return the lengths of these examples, as in :class:`Batch`."""
        lengths = {name: of_all[indices] for name, of_all in self.time_axes().items()}
        if len(lengths) > 1:
            return lengths
        return next(iter(lengths.values()), None)

    def _shared_axis(self) -> tuple[Axis, ...] | None:
        """Return "T" for each input of sequences if their lengths agree, else None: the axes are to be named later."""
        lengths = [field.lengths for field in self.inputs if field.lengths is not None]
        if any(not np.array_equal(lengths[0], other) for other in lengths[1:]):
            return None
        return tuple(None if field.lengths is None else "T" for field in self.inputs)

    def _name_axes(self, axes: Sequence[Axis]) -> None:
        """Set the inputs' time axes. An array with a named axis becomes an array of sequences."""
        if len(axes) != len(self.inputs):
            raise ValueError(f"axes must name the time axis of each of {len(self.inputs)} inputs, got {axes!r}")
        self.inputs = tuple(_along(f"inputs[{i}]", *pair) for i, pair in enumerate(zip(self.inputs, axes, strict=True)))
        first: dict[str, int] = {}
        for i, (name, field) in enumerate(zip(axes, self.inputs, strict=True)):
            if not isinstance(name, str):
                continue
            before = self.inputs[first.setdefault(name, i)].lengths
            if before is None or field.lengths is None or not np.array_equal(field.lengths, before):
                raise ValueError(f"inputs[{first[name]}] and inputs[{i}] share the time axis {name} but differ in length")
        self._axes = tuple(axes)

    def __repr__(self) -> str:
        kinds = ", ".join(_kind(field) for field in self.inputs)
        goals = ", ".join(_kind(field) for field in self.targets)
        return f"Examples({len(self)}: {kinds}{' -> ' if goals else ''}{goals})"


def laid_out(name: str, value: object, model: Layer) -> Examples:
    """Return examples laid out for the model. Raises TypeError or ValueError with ``name``, the argument's."""
    if not isinstance(value, Examples):
        raise TypeError(f"{name} must be fastrnn.Examples(inputs, targets), got {checks.describe(value)}")
    return lay_out(name, value, model)


def _along(name: str, field: Field, axis: Axis) -> Field:
    """Return the field as sequences along this time axis. Raises ValueError naming it."""
    if axis is None:
        if field.lengths is not None:
            raise ValueError(f"{name} has sequences, but its time axis is None")
        return field
    if field.lengths is None and field.rows.ndim < 2:
        raise ValueError(f"{name} must be sequences, a list or an array [N, T, ...], for its time axis {axis!r}, got [N]")
    field = field.as_sequences() if field.lengths is None else field
    if isinstance(axis, int) and np.any(field.lengths != axis):
        raise ValueError(f"{name} must have sequences of {axis} steps, got {_kind(field)}")
    return field


def _kind(field: Field) -> str:
    time = "" if field.lengths is None else f"T={field.lengths.min()}..{field.lengths.max()}, "
    return f"{field.rows.dtype} [{time}{', '.join(map(str, field.rows.shape[1:]))}]".replace(", ]", "]")
