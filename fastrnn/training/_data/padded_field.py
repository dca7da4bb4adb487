"""One field of a dataset: an array of N rows, or N sequences that are padded when a batch is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from ..._core import checks
from ..._core.arrays import Array
from ...masks import sequence_mask

KINDS = "integers, float32 or float64"
CHECKED = 1024  # examples that a checksum copies at a time


@dataclass(frozen=True, slots=True)
class Field:
    """Field of N examples: ``rows [N, ...]``, or sequences that lie end to end in ``rows [sum, ...]``.

    ``starts`` and ``lengths``, int64 ``[N]``, locate each sequence; both are None in a field without time. Integers are
    int64. ``batch_first`` makes batches of sequences ``[B, T, ...]``. ``stacked`` says that the sequences came in one array.
    """

    rows: Array
    starts: Array | None = None
    lengths: Array | None = None
    batch_first: bool = False
    stacked: bool = False

    def __len__(self) -> int:
        return len(self.rows if self.lengths is None else self.lengths)

    def take(self, indices: Array) -> Field:
        """Return a field of these examples only. Sequences are not copied."""
        if self.starts is None or self.lengths is None:
            return Field(self.rows[indices])
        return replace(self, starts=self.starts[indices], lengths=self.lengths[indices])

    def as_sequences(self) -> Field:
        """Return an array ``[N, T, ...]`` as N sequences of T steps. Raises ValueError if there is no second axis."""
        if self.rows.ndim < 2:
            raise ValueError(f"an array of sequences must have the axes [N, T, ...], got {checks.describe(self.rows)}")
        N, T = self.rows.shape[:2]
        rows = self.rows.reshape(N * T, *self.rows.shape[2:])
        return Field(rows, np.arange(N) * T, np.full(N, T), stacked=True)

    def mask(self, indices: Array, among: Array) -> Array | None:
        """Return the mask of the :meth:`batch`, bool ``[T, B]`` or ``[B, T]``, False in padding; None without time."""
        if self.lengths is None:
            return None
        mask = sequence_mask(self.lengths[indices], self.steps(among))
        return mask.T if self.batch_first else mask

    def batch(self, indices: Array, padding: int, among: Array) -> Array:
        """Return these examples as ``[B, ...]``, or sequences as ``[T, B, ...]`` with ``padding`` after their ends.

        T is the length of the longest sequence ``among`` these indices.
        """
        if self.starts is None or self.lengths is None:
            return self.rows[indices]
        lengths, T = self.lengths[indices], self.steps(among)
        step = np.arange(T)[:, None]
        inside = step < lengths
        padded = np.full((T, len(indices), *self.rows.shape[1:]), padding, self.rows.dtype)
        padded[inside] = self.rows[(self.starts[indices] + step)[inside]]
        return padded.swapaxes(0, 1) if self.batch_first else padded

    def steps(self, indices: Array) -> int:
        """Return T of the batch of these examples: the length of the longest sequence, at least 1."""
        return 1 if self.lengths is None else int(self.lengths[indices].max(initial=1))

    @property
    def is_ids(self) -> bool:
        """True if the values are integers."""
        return self.rows.dtype.kind == "i"

    def flat(self) -> tuple[Array, Array]:
        """Return the rows of all examples in order, ``[n, ...]``, and the index of the example of each, ``[n]``."""
        if self.starts is None or self.lengths is None:
            return self.rows, np.arange(len(self.rows))
        owners = np.repeat(np.arange(len(self)), self.lengths)
        before = np.cumsum(self.lengths) - self.lengths
        return self.rows[np.arange(len(owners)) + np.repeat(self.starts - before, self.lengths)], owners

    def checksum(self) -> int:
        """Return a CRC-32 of the examples' number, dtype, shapes, lengths and values. The memory layout does not matter."""
        crc = crc32(repr((len(self), self.rows.dtype.str, self.rows.shape[1:])).encode())
        if self.lengths is not None:
            crc = crc32(self.lengths.tobytes(), crc)
        for start in range(0, len(self), CHECKED):
            some, _ = self.take(np.arange(start, min(start + CHECKED, len(self)))).flat()
            crc = crc32(some.tobytes(), crc)
        return crc


def fields(name: str, value: object) -> tuple[Field, ...]:
    """Return the fields of one value or a tuple, all of N examples. Raises TypeError or ValueError with ``name`` in it."""
    if not isinstance(value, tuple):
        return (field(name, value),)
    if not value:
        raise ValueError(f"{name} must hold at least one field, got an empty tuple")
    made = tuple(field(f"{name}[{i}]", item) for i, item in enumerate(value))
    if len({len(item) for item in made}) > 1:
        raise ValueError(f"{name} must all have the same number of examples, got {[len(item) for item in made]}")
    return made


def field(name: str, value: object) -> Field:
    """Return a field from an array ``[N, ...]`` or a list of N sequences ``[T_i, ...]``; a list of numbers is ``[N]``.

    Arrays keep their float dtype; Python floats become float32. Raises TypeError or ValueError with ``name`` in it.
    """
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            raise ValueError(f"{name} must be an array [N, ...] or a list of N sequences, got {checks.describe(value)}")
        return _finite(name, Field(_typed(name, value)))
    if not isinstance(value, list):
        raise TypeError(f"{name} must be an array [N, ...] or a list of N sequences, got {checks.describe(value)}")
    if not value:
        raise ValueError(f"{name} must hold at least one example, got none")
    items = [_as_array(f"{name}[{i}]", item) for i, item in enumerate(value)]
    if all(item.ndim == 0 for item in items):
        return _finite(name, Field(_typed(name, np.stack(items))))
    return _finite(name, _sequences(name, items))


def _as_array(name: str, item: object) -> Array:
    if isinstance(item, np.ndarray):
        return item
    try:
        array = np.asarray(item)
    except ValueError:  # the steps are lists of different lengths
        wanted = "a sequence [T, ...] of one shape at all steps"
        raise ValueError(f"{name} must be {wanted}, got {checks.describe(item)}") from None
    return array.astype(np.float32) if array.dtype == np.float64 and not isinstance(item, np.generic) else array


def _typed(name: str, array: Array) -> Array:
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    if array.dtype.name not in checks.DTYPES:
        raise TypeError(f"{name} must hold {KINDS}, got {checks.describe(array)}")
    return array


def _sequences(name: str, items: Sequence[Array]) -> Field:
    """Return a field of sequences. Raises TypeError or ValueError, naming the sequence, if dtypes or step shapes differ.

    An empty sequence matches any dtype and shape, because an empty list has neither.
    """
    for i, item in enumerate(items):
        if item.ndim == 0:
            raise ValueError(f"{name}[{i}] must be a sequence [T, ...], got a single number")
    k = next((i for i, item in enumerate(items) if len(item)), 0)
    first = _typed(f"{name}[{k}]", items[k])
    for i, item in enumerate(items):
        if item.shape == (0,):
            continue
        # Integers of any width are one type: all of them become int64.
        if item.dtype != first.dtype and not (item.dtype.kind in "iu" and first.dtype.kind == "i"):
            raise TypeError(f"{name}[{i}] must have the type of {name}[{k}], {first.dtype}, got {checks.describe(item)}")
        if item.shape[1:] != first.shape[1:]:
            steps = f"steps of shape {first.shape[1:]} as {name}[{k}]"
            raise ValueError(f"{name}[{i}] must have {steps}, got {checks.describe(item)}")
    lengths = np.array([len(item) for item in items], np.int64)
    rows = np.concatenate([item for item in items if len(item)] or [first])
    return Field(_typed(name, rows), np.cumsum(lengths) - lengths, lengths)


def _finite(name: str, made: Field) -> Field:
    if not len(made):
        raise ValueError(f"{name} must hold at least one example, got none")
    if made.is_ids or np.isfinite(made.rows).all():
        return made
    rows, owners = made.flat()
    wrong = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    raise ValueError(f"{name} must be finite, got NaN or infinity in example {owners[wrong][0]}")
