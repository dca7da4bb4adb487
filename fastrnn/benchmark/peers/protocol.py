"""The interface of an adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._core.arrays import Array


class Absent(Exception):
    """The library cannot take part here; the message says why."""


class Unsupported(Exception):
    """The library cannot do this question or this cell."""


class WrongThreads(Exception):
    """The library does not run on the agreed number of threads."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: ``run()`` is timed, ``results(run())`` returns the arrays to compare.

    ``results`` is called after the first run only. Its names are ``y``; ``dx``, ``dW``, ``dR``, ``db_ih``, ``db_hh`` in
    torch's layouts; ``loss``; ``tokens``; and parameters by their names in CharModel.
    """

    run: Callable[[], Any]
    results: Callable[[Any], Mapping[str, Array]]


class Peer:
    """An adapter: for each of its ``questions``, a method of that name builds its side from a problem."""

    name: str
    library: Any
    questions: tuple[str, ...] = ("forward", "training", "step")
    bfloat16 = False  # whether it multiplies bfloat16 numbers if the case's precision is "medium"
    threads = 1

    @property
    def sides(self) -> dict[str, Callable[[Any], Side]]:
        """The builders of sides by question; each takes a Problem or a LanguageProblem."""
        return {question: getattr(self, question) for question in self.questions}

    def version(self) -> str:
        """Return the library's version."""
        return str(self.library.__version__)

    def use_threads(self, n: int) -> None:
        """Run on n threads from now on. Raises WrongThreads if that is impossible."""
        self.threads = n


def require_threads(wanted: int, found: int, who: str) -> None:
    """Raise WrongThreads unless both numbers of threads are equal."""
    if wanted != found:
        raise WrongThreads(f"{who} runs on {found} threads, not on {wanted}")


def as_arrays(**arrays: Any) -> dict[str, Array]:
    """Return named NumPy copies, which later calls do not overwrite."""
    return {name: np.array(array) for name, array in arrays.items()}
