"""Language models in fastrnn: a training step written by hand, and sampling."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from ... import optim
from ...text.char_model import CharModel
from ..language import LanguageProblem
from .protocol import Side, as_arrays


def _model(problem: LanguageProblem) -> CharModel:
    case, sizes = problem.case, problem.sizes
    model = CharModel(sizes.V, case.cell.lower(), sizes.L, case.H, sizes.E)
    model.load_state_dict(problem.state_dict)
    return model


def _training(problem: LanguageProblem, optimiser: type[Any], clip: Callable[..., Any]) -> Side:
    model, texts = _model(problem), cycle(problem.texts)
    parameters = list(model.parameters())
    rule = optimiser(parameters, lr=problem.sizes.lr)

    def run() -> float:
        ids, targets = next(texts)
        rule.zero_grad()
        loss, _ = model.learn(ids, targets)
        clip(parameters, problem.sizes.clip)
        rule.step()
        return loss

    return Side(run, lambda loss: as_arrays(loss=loss, **{name: p.data for name, p in model.named_parameters()}))


def trainer(problem: LanguageProblem) -> Side:
    """Build a training step with Adam, clipped by norm."""
    return _training(problem, optim.Adam, optim.clip_grad_norm)


def names(problem: LanguageProblem) -> Side:
    """Build a training step with SGD, clipped by value."""
    return _training(problem, optim.SGD, optim.clip_grad_value)


def sampling(problem: LanguageProblem) -> Side:
    """Build sampling with the loop in the C library."""
    model, prime, uniforms = _model(problem), np.full((1, 1), -1), problem.uniforms[:, None]
    return Side(lambda: model.generate(prime, uniforms).tokens, lambda tokens: as_arrays(tokens=tokens[:, 0]))
