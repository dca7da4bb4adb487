"""What is measured: questions, their cases, and the named subsets of the grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

CELLS = ("RNN", "GRU", "LSTM")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
HIDDEN = (32, 128, 512, 1024)
BATCH = (1, 8, 32, 128)
THREADS = (1, 2)
STEPS = 100


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one layer: T steps of B sequences, I inputs, H units, so many threads."""

    question: str
    cell: str
    H: int
    B: int
    threads: int
    T: int = STEPS
    variant: str = ""

    @property
    def I(self) -> int:  # noqa: E743
        """The input is as wide as the layer."""
        return self.H

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells cases apart."""
        return tuple(asdict(self).values())

    @property
    def name(self) -> str:
        """For people."""
        variant = f", {self.variant}" if self.variant else ""
        return f"{self.question} {self.cell} H={self.H} B={self.B} T={self.T}{variant}, {self.threads} threads"

    @property
    def operations(self) -> float:
        """Multiplications and additions of the products alone: 2 T B G H (I + H), three times that with backward."""
        forward = 2.0 * self.T * self.B * GATES[self.cell] * self.H * (self.I + self.H)
        return 3 * forward if self.question == "training" else forward


# Cells x H x B of each named subset.
SUBSETS: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]] = {
    "grid": (CELLS, HIDDEN, BATCH),
    "quick": (("GRU", "LSTM"), (32, 128, 512), (1, 32)),
    "smoke": (("LSTM",), (32,), (1, 8)),
    "small": (CELLS, (32, 128), (1, 8)),
    "large": (CELLS, (512, 1024), (32, 128)),
}


def layer_cases(question: str, subset: str, threads: tuple[int, ...] = THREADS) -> Iterator[Case]:
    """The cases of ``"forward"`` or ``"training"``."""
    for n, cell, H, B in product(threads, *SUBSETS[subset]):
        yield Case(question, cell, H, B, n)
