"""What an adapter offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Absent(Exception):
    """The library cannot take part here; the message says why."""


class Unsupported(Exception):
    """The library has nothing like this question or this cell."""


class WrongThreads(Exception):
    """The library would not run on the number of threads that was agreed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: ``run()`` is what is timed; ``results(run())`` are its arrays, to be compared, asked for
    after the first run alone.

    The names of results: ``y``; ``dx``, ``dW``, ``dR``, ``db_ih``, ``db_hh`` in torch's layouts; ``loss``; ``tokens``;
    parameters by their names in CharModel.
    """

    run: Callable[[], Any]
    results: Callable[[Any], Mapping[str, Array]]


class Peer:
    """An adapter. For each of its ``questions`` it has a method that builds its side, from the same problem for everyone."""

    name: str
    library: Any
    questions: tuple[str, ...] = ("forward", "training", "step")
    threads = 1

    @property
    def sides(self) -> dict[str, Callable[[Any], Side]]:
        """What builds the side of each question, from a Problem or from a LanguageProblem."""
        return {question: getattr(self, question) for question in self.questions}

    def version(self) -> str:
        """Return the library's version."""
        return str(self.library.__version__)

    def use_threads(self, n: int) -> None:
        """Run on n threads from now on. Raises WrongThreads when that cannot be had."""
        self.threads = n


def require_threads(wanted: int, found: int, who: str) -> None:
    """Raise WrongThreads unless they are equal."""
    if wanted != found:
        raise WrongThreads(f"{who} runs on {found} threads, not on {wanted}")


def as_arrays(**arrays: Any) -> dict[str, Array]:
    """Named NumPy copies, in which later calls do not write."""
    return {name: np.array(array) for name, array in arrays.items()}
