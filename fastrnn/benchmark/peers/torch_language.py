"""Language models in PyTorch, as users write them for speed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..language import LanguageProblem
from .protocol import Side, as_arrays


class Model(torch.nn.Module):
    """The twin of CharModel, with the same names of parameters."""

    def __init__(self, problem: LanguageProblem) -> None:
        super().__init__()
        case, sizes = problem.case, problem.sizes
        self.V, self.embedded = sizes.V, bool(sizes.E)
        if self.embedded:
            self.embedding = torch.nn.Embedding(sizes.V, sizes.E)
        self.recurrent = getattr(torch.nn, case.cell)(sizes.E or sizes.V, case.H, sizes.L)
        self.output = torch.nn.Linear(case.H, sizes.V)
        self.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in problem.state_dict.items()})

    def forward(self, x: Any) -> Any:
        """Return the logits of ids, or of one-hot vectors."""
        return self.output(self.recurrent(self.embedding(x) if self.embedded else x)[0])


def _inputs(problem: LanguageProblem) -> list[tuple[Any, Any]]:
    """Return ids, or one-hot vectors made beforehand (zeros for -1), with targets."""
    V = problem.sizes.V
    eye = torch.cat((torch.eye(V), torch.zeros(1, V)))
    made = []
    for ids, targets in problem.texts:
        x = torch.from_numpy(ids)
        made.append((x if problem.sizes.E else eye[x], torch.from_numpy(targets.reshape(-1))))
    return made


def _training(problem: LanguageProblem, optimiser: Callable[..., Any], clip: Callable[..., Any]) -> Side:
    model, texts = Model(problem), cycle(_inputs(problem))
    parameters = list(model.parameters())
    rule = optimiser(parameters, lr=problem.sizes.lr)

    def run() -> Any:
        x, targets = next(texts)
        loss = functional.cross_entropy(model(x).view(-1, model.V), targets)
        rule.zero_grad()
        torch.autograd.backward(loss)
        clip(parameters, problem.sizes.clip)
        rule.step()
        return loss.item()

    def results(loss: float) -> Any:
        return as_arrays(loss=loss, **{name: p.detach().numpy() for name, p in model.named_parameters()})

    return Side(run, results)


def trainer(problem: LanguageProblem) -> Side:
    """Build a training step with Adam, fused into one kernel and clipped by norm."""
    return _training(problem, lambda p, lr: torch.optim.Adam(p, lr, fused=True), torch.nn.utils.clip_grad_norm_)


def names(problem: LanguageProblem) -> Side:
    """Build a training step with SGD, fused and clipped by value."""
    return _training(problem, lambda p, lr: torch.optim.SGD(p, lr, fused=True), torch.nn.utils.clip_grad_value_)


def sampling(problem: LanguageProblem) -> Side:
    """Build the sampling loop with a cell, which is faster than a layer with T = 1.

    A token's column of W replaces the product with a one-hot vector.
    """
    model, case = Model(problem), problem.case
    table = (
        torch.cat((model.recurrent.weight_ih_l0.detach().T, torch.zeros(1, 4 * case.H)))
        + model.recurrent.bias_ih_l0.detach()
    )
    R, b = model.recurrent.weight_hh_l0.detach(), model.recurrent.bias_hh_l0.detach()
    uniforms = torch.from_numpy(problem.uniforms)

    @torch.inference_mode()
    def run() -> Any:
        h = c = torch.zeros(1, case.H)
        token, tokens = problem.sizes.V, []
        for t in range(case.T):
            gates = functional.linear(h, R, b)
            gates += table[token]
            i, f, g, o = gates.chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            weights = torch.softmax(model.output(h)[0].double(), 0).cumsum(0)
            token = int(torch.searchsorted(weights, uniforms[t] * weights[-1], right=True))
            tokens.append(token)
        return tokens

    return Side(run, lambda tokens: as_arrays(tokens=np.array(tokens)))
