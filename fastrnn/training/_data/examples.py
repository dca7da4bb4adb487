"""Data sets of examples, and the padded batches that models take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import init
from ..._core import checks
from ...losses import IGNORED
from .padded_field import Field, fields
from .time_layout import lay_out

if TYPE_CHECKING:
    from ...layers.base import Layer

Array = NDArray[Any]
Lengths = Array | dict[str, Array] | None
Axis = str | int | None

NOTHING = -1  # what ids are padded with in inputs: the zero vector
POOL = 32  # batches among which a shuffled epoch puts sequences of like length together


@dataclass(frozen=True, slots=True)
class Batch:
    """B examples, side by side.

    ``inputs``: ``[B, ...]`` each, or padded sequences ``[T, B, ...]`` (ids with -1, floats with 0; ``[B, T, ...]`` for a
    model with ``batch_first``). ``targets``: likewise, bare or a tuple as they were given; ids padded with -100, floats with
    0; None where there are none. T is the longest sequence's, and 1 in a batch of sequences without steps.
    ``lengths``: what models take, int64 ``[B]`` or those by the name of the time axis, None without sequences.
    ``mask``: bool ``[T, B]`` (``[B, T]``), where the targets are sequences, and a tuple where they are one; None counts all.
    ``indices``: int64 ``[B]``, which examples.
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
    """N examples of inputs and, for training, targets.

    ``inputs`` and ``targets`` are a field or a tuple of fields. A field is an array ``[N, ...]`` or a list of N sequences
    ``[T_i, ...]``, arrays or Python lists of ids or numbers.

    How time is recognised: a list has it. An array has it where the model looks along time, and is then the same as the
    list of its sequences: a ``Model`` where its ``Input`` has, any other layer where it takes ``[T, B, ...]`` and refuses
    ``[B, ...]``. Targets go with the output that they belong to. :meth:`for_model` applies this rule, and
    :func:`fastrnn.fit`, ``evaluate`` and ``predict`` call it; without a model an array has no time.

    ``axes`` names the time axis of each input where they have more than one, None for one without time:
    ``Examples((source, target), following, axes=("S", "T"))``, a number where the length is fixed; inputs of one axis have
    the same lengths. An array whose axis is named has time. By default inputs whose lengths all agree share one, and a
    ``Model``'s names take the place of these. A sequence may have no steps: it is one of length 0. Raises
    TypeError or ValueError naming the argument: no examples, unequal N, a type that is neither integer nor float32 nor
    float64, NaN.
    """

    # The name of each input's time axis, a number where its length is fixed, None without one. None as a whole: not
    # known yet.
    _axes: tuple[Axis, ...] | None = None
    declared = False  # whether the axes were named by the caller

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
        """Some of the examples: a slice or indices ``[n]``, in their order. Raises IndexError, TypeError or ValueError."""
        indices = np.arange(len(self))[chosen]
        if indices.ndim != 1 or not len(indices):
            raise ValueError(
                f"examples must be chosen by a slice or indices [n], at least one, got {checks.describe(chosen)}"
            )
        inputs, targets = ([field.take(indices) for field in group] for group in (self.inputs, self.targets))
        return self.with_fields(inputs, targets)

    def split(self, fraction: float, rng: np.random.Generator | int = 0) -> tuple[Examples, Examples]:
        """A shuffled split: about ``fraction`` of the examples, and the rest, at least one each. ``rng``: or a seed."""
        checks.number("fraction", fraction, 0.0, 1.0)
        if len(self) < 2:
            raise ValueError(f"examples must be at least 2 to be split, got {len(self)}")
        order = init.generator(rng).permutation(len(self))
        cut = min(max(1, round(fraction * len(self))), len(self) - 1)
        return self[order[:cut]], self[order[cut:]]

    def with_axes(self, axes: Sequence[Axis]) -> Examples:
        """The same examples, their inputs' time axes named anew. Raises ValueError as the class does."""
        same = self.with_fields()
        same._name_axes(axes)
        return same

    def with_fields(self, inputs: Sequence[Field] | None = None, targets: Sequence[Field] | None = None) -> Examples:
        """The same time axes, with other fields in the place of inputs or targets."""
        other = Examples.__new__(Examples)
        fields = (self.inputs if inputs is None else tuple(inputs), self.targets if targets is None else tuple(targets))
        other._set(*fields, self.several_targets)
        other._axes, other.declared = self._axes, self.declared
        return other

    def for_model(self, model: Layer) -> Examples:
        """The same examples as this model takes them: see the class. Raises TypeError or ValueError.

        A training loop of one's own takes its batches from it: ``train.for_model(model).batches(32, rng)``.
        """
        return lay_out("examples", self, model)

    def batches(
        self, batch_size: int, rng: np.random.Generator | None = None, *, by_length: bool | None = None
    ) -> Iterator[Batch]:
        """All examples once, in batches; the last one may be smaller.

        In their order, or shuffled with ``rng``. ``by_length`` puts sequences of like length together, which saves
        padding: on by default where they are shuffled. Then batches are cut from pools of 32 batches that are sorted
        by length, and shuffled themselves. ``Batch.indices`` says which examples a batch holds.
        """
        return (self.batch(indices) for indices in self.order(batch_size, rng, by_length=by_length))

    def order(
        self, batch_size: int, rng: np.random.Generator | None = None, *, by_length: bool | None = None
    ) -> list[Array]:
        """The indices of each of the :meth:`batches`."""
        size = checks.positive_int("batch_size", batch_size)
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy Generator or None, got {checks.describe(rng)}")
        sort = by_length if by_length is not None else rng is not None
        keys = [field.lengths for field in (*self.targets, *reversed(self.inputs)) if field.lengths is not None]
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        if not keys or not sort:
            return [order[i : i + size] for i in range(0, len(order), size)]
        pool = len(order) if rng is None else POOL * size
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        ordered = np.concatenate([part[np.lexsort([key[part] for key in keys])] for part in pools])
        batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
        return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]

    def batch(self, indices: Array) -> Batch:
        """The batch of these examples. Raises ValueError where inputs differ in length and have no names of axes."""
        indices = np.asarray(indices, np.int64)
        inputs = tuple(field.batch(indices, NOTHING if field.is_ids else 0) for field in self.inputs)
        targets = tuple(field.batch(indices, IGNORED if field.is_ids else 0) for field in self.targets)
        masks = tuple(field.mask(indices) for field in self.targets)
        bare = len(targets) == 1 and not self.several_targets
        return Batch(
            inputs,
            (targets[0] if bare else targets) if targets else None,
            self._lengths(indices),
            (masks[0] if bare else masks) if targets else None,
            indices,
        )

    def axes(self) -> tuple[Axis, ...]:
        """The time axis of each input: its name, its size where that is fixed, None without one. Raises ValueError."""
        if self._axes is None:
            raise ValueError(
                "inputs have sequences of different lengths: name the time axis of each, such as "
                f"Examples(inputs, targets, axes={tuple('STUVWXYZ'[: len(self.inputs)])})"
            )
        return self._axes

    def time_axes(self) -> dict[str, Array]:
        """The lengths of all examples, int64 ``[N]``, by the name of the time axis."""
        named = zip(self.axes(), self.inputs, strict=True)
        return {name: field.lengths for name, field in named if isinstance(name, str) and field.lengths is not None}

    def _lengths(self, indices: Array) -> Lengths:
        lengths = {name: of_all[indices] for name, of_all in self.time_axes().items()}
        if len(lengths) > 1:
            return lengths
        return next(iter(lengths.values()), None)

    def _shared_axis(self) -> tuple[Axis, ...] | None:
        """T for all sequences where their lengths agree; None, to be named later, where they do not."""
        lengths = [field.lengths for field in self.inputs if field.lengths is not None]
        if any(not np.array_equal(lengths[0], other) for other in lengths[1:]):
            return None
        return tuple(None if field.lengths is None else "T" for field in self.inputs)

    def _name_axes(self, axes: Sequence[Axis]) -> None:
        """Name the inputs' time axes: an array whose axis has a name is an array of sequences."""
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
    """Return examples as the model takes them. Raises TypeError or ValueError, naming the argument."""
    if not isinstance(value, Examples):
        raise TypeError(f"{name} must be fastrnn.Examples(inputs, targets), got {checks.describe(value)}")
    return lay_out(name, value, model)


def _along(name: str, field: Field, axis: Axis) -> Field:
    """A field along this time axis. Raises ValueError naming it."""
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
