"""Token ids in the smallest integer type, held in memory, or for a large text in an unnamed file that is mapped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .source import LARGE

Ids = NDArray[Any]
BLOCK = 1 << 21  # ids that are processed at a time


def smallest_type(count: int) -> np.dtype[Any]:
    """Return the smallest integer type that holds ids 0 to count - 1."""
    return np.min_scalar_type(max(count - 1, 0))


class IdWriter:
    """Collector of ids, block by block.

    ``expected`` is an upper estimate of their number. If it is large, the ids go into an unnamed file, which disappears when
    the process ends. The file lies on the disk of ``near``, a folder that need not exist yet. Raises OSError.
    """

    def __init__(self, dtype: DTypeLike, expected: int, near: Path | None = None) -> None:
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self._parts: list[Ids] = []
        self._count = 0
        self._file: IO[bytes] | None = None
        if expected > LARGE:
            self._folder = _existing(near) or Path(tempfile.gettempdir())
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - finish closes it

    def __len__(self) -> int:
        return self._count

    def add(self, ids: Any) -> None:
        """Append ids."""
        block = np.asarray(ids, self._dtype)
        self._count += len(block)
        if self._file is None:
            self._parts.append(block)
        else:
            with self._named():
                self._file.write(block.tobytes())

    def finish(self) -> Ids:
        """Return all ids, ``[n]``."""
        if self._file is None:
            parts, self._parts = self._parts, []
            return np.concatenate(parts) if parts else np.empty(0, self._dtype)
        with self._named(), self._file as file:
            file.flush()
            return np.memmap(file, self._dtype, mode="r", shape=(self._count,))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the folder in errors of the file, which has no name."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"a file of token ids in {self._folder}") from error


def _existing(folder: Path | None) -> Path | None:
    """Return the folder, or its nearest parent that exists."""
    if folder is None:
        return None
    return next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), None)


def blocks(ids: Ids) -> Iterator[Ids]:
    """Yield the ids in order, a block at a time."""
    for start in range(0, len(ids), BLOCK):
        yield ids[start : start + BLOCK]


class Lines(Sequence[Ids]):
    """Sequences of ids ``[n_i]``, stored end to end in ``flat``, with ``lengths`` int64 ``[N]``."""

    def __init__(self, flat: Ids, lengths: NDArray[np.int64]) -> None:
        self._flat, self.lengths = flat, lengths
        self._ends = np.cumsum(lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, i: int) -> Ids: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Ids]: ...
    def __getitem__(self, i: int | slice) -> Ids | Sequence[Ids]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        end = self._ends[i]
        line: Ids = self._flat[end - self.lengths[i] : end]
        return line

    def chosen(self, which: NDArray[np.int64]) -> Lines:
        """Return the sequences at these indices. Only their positions are copied."""
        lines = Lines(self._flat, self.lengths[which])
        lines._ends = self._ends[which]
        return lines


def select(sequences: Sequence[Ids], which: NDArray[np.int64]) -> Sequence[Ids]:
    """Return the sequences at these indices."""
    return sequences.chosen(which) if isinstance(sequences, Lines) else [sequences[int(i)] for i in which]


def lengths_of(sequences: Sequence[Ids]) -> NDArray[np.int64]:
    """Return the lengths of sequences, int64 ``[N]``."""
    return sequences.lengths if isinstance(sequences, Lines) else np.array([len(ids) for ids in sequences], np.int64)
