"""Questions that are measured, their cases, and the named subsets of the grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from ..console import quantity

CELLS = ("RNN", "GRU", "LSTM")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
HIDDEN = (32, 128, 512, 1024)
BATCH = (1, 8, 32, 128)
THREADS = (1, 2)
STEPS = 100
STEP_HIDDEN = (64, 128, 256, 512)
# Variants of a case: sequences of different lengths; inputs below float32's normal range; products of other precisions.
LENGTHS, DENORMAL = "lengths", "denormal"
HIGH, MEDIUM = "high", "medium"


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one layer: T time steps of B sequences, I inputs, H units, on ``threads`` threads."""

    question: str
    cell: str
    H: int
    B: int
    threads: int
    T: int = STEPS
    variant: str = ""

    @property
    def I(self) -> int:  # noqa: E743
        """The input size, equal to H."""
        return self.H

    @property
    def precision(self) -> str:
        """The name of our products' precision."""
        return self.variant if self.variant in (HIGH, MEDIUM) else "highest"

    @property
    def key(self) -> tuple[Any, ...]:
        """The values that identify a case."""
        return tuple(asdict(self).values())

    @property
    def name(self) -> str:
        """A readable name."""
        variant = f", {self.variant}" if self.variant else ""
        return f"{self.question} {self.cell} H={self.H} B={self.B} T={self.T}{variant}, {quantity(self.threads, 'thread')}"

    @property
    def operations(self) -> float:
        """Multiplications and additions of the products alone: 2 T B G H (I + H), three times that with backward."""
        columns = self.I if self.question == "product" else self.I + self.H
        forward = 2.0 * self.T * self.B * GATES[self.cell] * self.H * columns
        return 3 * forward if self.question == "training" else forward

    @property
    def tokens(self) -> int:
        """Tokens that a call processes, padding included."""
        return self.T * self.B


# Cells x H x B of each named subset.
SUBSETS: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]] = {
    "grid": (CELLS, HIDDEN, BATCH),
    "quick": (("GRU", "LSTM"), (32, 128, 512), (1, 32)),
    "smoke": (("LSTM",), (32,), (1, 8)),
    "small": (CELLS, (32, 128), (1, 8)),
    "large": (CELLS, (512, 1024), (32, 128)),
}


def layer_cases(question: str, subset: str, threads: Iterable[int] = THREADS) -> Iterator[Case]:
    """Yield the cases of ``"forward"``, ``"training"`` or ``"product"``."""
    for n, cell, H, B in product(threads, *SUBSETS[subset]):
        yield Case(question, cell, H, B, n)


def other_cases(question: str, threads: Iterable[int] = THREADS) -> Iterator[Case]:
    """Yield the cases of a question without a grid.

    "variants" has lengths, denormals and ordinary sequences, "precisions" sizes at which "high" and "medium" gain time.
    """
    for n in threads:
        if question == "step":
            yield from (Case(question, cell, H, 1, n, T=1) for cell, H in product(CELLS, STEP_HIDDEN))
        elif question == "trainer":
            yield Case(question, "LSTM", 512, 64, n, T=128)
        elif question == "names":
            yield Case(question, "RNN", 100, 1, n, T=10)
        elif question == "sampling":
            yield Case(question, "LSTM", 256, 1, n, T=200)
        elif question == "variants":
            every = product(("forward", "training"), CELLS, ("", LENGTHS, DENORMAL))
            yield from (Case(which, cell, 256, 32, n, variant=variant) for which, cell, variant in every)
        elif question == "precisions":
            grid = product((HIGH, MEDIUM), ("forward", "training"), ("GRU", "LSTM"), (512, 1024), (32, 128))
            yield from (Case(which, cell, H, B, n, variant=variant) for variant, which, cell, H, B in grid)


GRID_QUESTIONS = ("forward", "training", "product")
CASE_QUESTIONS = (*GRID_QUESTIONS, "step", "trainer", "names", "sampling")
QUESTIONS = (*CASE_QUESTIONS, "variants", "precisions")  # the last two are variants of forward and training


def cases(questions: Iterable[str], subset: str, threads: Iterable[int] = THREADS) -> list[Case]:
    """Return the cases of all the questions."""
    threads = list(threads)
    found: list[Case] = []
    for question in questions:
        found += layer_cases(question, subset, threads) if question in GRID_QUESTIONS else other_cases(question, threads)
    return found
