"""Language models that are trained and sampled from end to end: sizes, weights by CharModel's names, and texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._core.arrays import Array
from .cases import GATES, Case


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a model (V vocabulary, E embedding or 0 for one-hot, L layers), its learning rate and its clipping limit."""

    V: int
    E: int
    L: int
    lr: float = 0.0
    clip: float = 0.0


SIZES = {
    "trainer": Sizes(V=65, E=512, L=2, lr=1e-3, clip=1.0),  # Adam, clipped by norm
    "names": Sizes(V=27, E=0, L=1, lr=0.01, clip=5.0),  # SGD, clipped by value
    "sampling": Sizes(V=65, E=0, L=1),
}


class LanguageProblem:
    """The starting point that all sides of a language model's question share: sizes, weights and texts."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.sizes = SIZES[case.question]
        self.rng = np.random.default_rng(0)
        self.state_dict = self._state_dict()

    def _uniform(self, *shape: int) -> Array:
        bound = 1 / np.sqrt(self.case.H)
        return self.rng.uniform(-bound, bound, shape).astype(np.float32)

    def _state_dict(self) -> dict[str, Array]:
        s, H, G = self.sizes, self.case.H, GATES[self.case.cell]
        state = {"embedding.weight": self._uniform(s.V, s.E)} if s.E else {}
        for layer in range(s.L):
            inputs = H if layer else s.E or s.V
            shapes = {"weight_ih": (G * H, inputs), "weight_hh": (G * H, H), "bias_ih": (G * H,), "bias_hh": (G * H,)}
            state |= {f"recurrent.{name}_l{layer}": self._uniform(*shape) for name, shape in shapes.items()}
        # A wide output layer: otherwise samples are nearly uniform and hide errors in the states.
        return state | {"output.weight": 20 * self._uniform(s.V, H), "output.bias": self._uniform(s.V)}

    @cached_property
    def texts(self) -> list[tuple[Array, Array]]:
        """Inputs and targets, ids ``[T, B]``: random ids, or real names with their ends, one at a time."""
        V, (T, B) = self.sizes.V, (self.case.T, self.case.B)
        if self.case.question != "names":
            ids = self.rng.integers(0, V, (T + 1, B))
            return [(ids[:-1], ids[1:])]
        from ..corpora import load

        names = [name.strip().lower() for name in load("dinosaurs").splitlines()]
        similar = [name for name in names if name.isascii() and name.isalpha() and abs(len(name) - T) <= 2]
        found = []
        for name in similar[:100]:
            ids = np.array([[-1], *([ord(letter) - ord("a") + 1] for letter in name), [0]])
            found.append((ids[:-1], ids[1:]))
        return found

    @cached_property
    def uniforms(self) -> Array:
        """Random numbers ``[T]`` in [0, 1), one for each sampled token."""
        return self.rng.random(self.case.T)
