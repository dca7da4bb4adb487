"""The adapter of fastrnn itself, called as users call it."""

from __future__ import annotations

from typing import Any

import fastrnn

from ..problem import Problem
from . import fastrnn_language
from .protocol import Peer, Side, Unsupported, as_arrays, require_threads


class Fastrnn(Peer):
    """Our side of every comparison."""

    library = fastrnn
    bfloat16 = True
    questions: tuple[str, ...] = ("forward", "training", "product", "step", "trainer", "names", "sampling")
    trainer = staticmethod(fastrnn_language.trainer)
    names = staticmethod(fastrnn_language.names)
    sampling = staticmethod(fastrnn_language.sampling)

    def __init__(self, name: str = "fastrnn", backend: str | None = None) -> None:
        self.name, self.backend = name, backend

    def use_threads(self, n: int) -> None:
        """Run each call on at most n threads."""
        fastrnn.set_num_threads(n)
        require_threads(n, fastrnn.get_num_threads(), self.name)

    def layer(self, problem: Problem) -> Any:
        """Return one layer with the problem's weights. Raises Unsupported if it would run in another precision."""
        case = problem.case
        layer = getattr(fastrnn, case.cell)(case.I, case.H, backend=self.backend, precision=case.precision)
        layer.load_state_dict(problem.state_dict)
        (plan,) = layer.plan(case.T, case.B)
        if plan.reason:
            raise Unsupported(f"{self.name} runs in float32: {plan.reason}")
        return layer

    def forward(self, problem: Problem) -> Side:
        """Build inference; the first call packs the weights."""
        layer, x, lengths = self.layer(problem), problem.x, problem.lengths
        return Side(lambda: layer(x, None, lengths)[0], lambda y: as_arrays(y=y))

    def training(self, problem: Problem) -> Side:
        """Build a training step whose weights have changed since the last step, so they are packed again."""
        layer, x, dy = self.layer(problem), problem.x, problem.dy
        lengths, parameters = problem.lengths, list(layer.parameters())
        names = ("dW", "dR", "db_ih", "db_hh")

        def run() -> Any:
            for parameter in parameters:
                parameter.writable()
            (y, _), backward = layer.forward(x, None, lengths)
            return y, backward(dy)[0]

        def results(out: Any) -> Any:
            y, dx = out  # of the first run, so gradients were zero before it
            return as_arrays(y=y, dx=dx, **{name: p.grad for name, p in zip(names, parameters, strict=True)})

        return Side(run, results)

    def product(self, problem: Problem) -> Side:
        """Build the product x W^T alone; the first call packs the weight."""
        linear = fastrnn.Linear(problem.case.I, len(problem.W), bias=False, backend=self.backend)
        linear.load_state_dict({"weight": problem.W})
        x = problem.x.reshape(-1, problem.case.I)
        return Side(lambda: linear(x), lambda y: as_arrays(y=y))

    def step(self, problem: Problem) -> Side:
        """Build one step of a sequence; a stepper carries the state."""
        step, x = self.layer(problem).stepper(), problem.x[0, 0]
        return Side(lambda: step(x), lambda y: as_arrays(y=y[None]))


PEER = Fastrnn()
