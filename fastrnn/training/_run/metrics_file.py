"""The file ``metrics.csv``, with one row per evaluation."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

from ...serialization import FileFormatError, write_atomically


@dataclass(frozen=True, slots=True)
class Row:
    """Row of one evaluation. Losses are in nats per token.

    ``train_loss``, ``grad_norm`` and ``tokens_per_second`` are means since the previous evaluation.
    """

    step: int
    seconds: float
    train_loss: float
    val_loss: float
    lr: float
    grad_norm: float
    tokens_per_second: float

    def line(self) -> str:
        """Return the row as text. Timings are rounded; the rest is exact, so that runs can be compared."""
        values = [self.step, f"{self.seconds:.3f}", self.train_loss, self.val_loss, self.lr, self.grad_norm]
        return ",".join(map(str, [*values, f"{self.tokens_per_second:.1f}"])) + "\n"


HEADER = ",".join(field.name for field in fields(Row)) + "\n"


def append(path: Path, row: Row) -> None:
    """Append a row and flush it to the disk; a new file gets a header first. Raises OSError."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write((HEADER if file.tell() == 0 else "") + row.line())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # the error of a full disk does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from error


def read(path: Path) -> list[Row]:
    """Return the rows, without an incomplete last line.

    Raises OSError, and FileFormatError naming the file if it has other columns.
    """
    return [row for row, _ in _rows(path)]


def truncate(path: Path, last_step: int) -> None:
    """Drop the rows after ``last_step``, from which a run continues. Raises as :func:`read` does."""
    if path.exists():
        lines = [line for row, line in _rows(path) if row.step <= last_step]
        write_atomically(path, "".join([HEADER, *lines]).encode())


def _rows(path: Path) -> list[tuple[Row, str]]:
    """Return the rows and their text, without an incomplete last line."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    complete = [line for line in lines if line.endswith("\n")]
    if complete and complete[0] != HEADER:
        raise FileFormatError(f"{path} is not a metrics file: its first line must be {HEADER.strip()}")
    try:
        return [(_parse(line), line) for line in complete[1:]]
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{path} is damaged: {error}") from error


def _parse(line: str) -> Row:
    step, *rest = line.split(",")
    return Row(int(step), *map(float, rest))
