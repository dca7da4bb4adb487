"""The adapter of PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from ..cases import MEDIUM
from ..problem import Problem
from . import torch_language
from .protocol import Peer, Side, as_arrays, require_threads


class Torch(Peer):
    """Layers of ``torch.nn``."""

    name = "torch"
    library = torch
    questions = ("forward", "training", "product", "step", "trainer", "names", "sampling")
    bfloat16 = True
    trainer = staticmethod(torch_language.trainer)
    names = staticmethod(torch_language.names)
    sampling = staticmethod(torch_language.sampling)

    def use_threads(self, n: int) -> None:
        """Set the threads of an operator; operators run one at a time."""
        torch.set_num_threads(n)
        require_threads(n, torch.get_num_threads(), self.name)

    def layer(self, problem: Problem) -> Any:
        """Return one layer with the problem's weights."""
        layer = getattr(torch.nn, problem.case.cell)(problem.case.I, problem.case.H)
        layer.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in problem.state_dict.items()})
        return layer.to(_dtype(problem))

    def forward(self, problem: Problem) -> Side:
        """Build inference under inference_mode, torch's fastest way to call a layer."""
        layer, x = self.layer(problem), torch.from_numpy(problem.x).to(_dtype(problem))
        call = _with_lengths(layer, problem)

        @torch.inference_mode()
        def run() -> Any:
            return call(x)

        return Side(run, lambda y: as_arrays(y=y.float().numpy()))

    def training(self, problem: Problem) -> Side:
        """Build a training step; gradients of weights are accumulated, as on our side."""
        layer, dtype = self.layer(problem), _dtype(problem)
        x, dy = torch.from_numpy(problem.x.copy()).to(dtype).requires_grad_(), torch.from_numpy(problem.dy).to(dtype)
        call = _with_lengths(layer, problem)
        names = ("dW", "dR", "db_ih", "db_hh")

        def run() -> Any:
            x.grad = None
            y = call(x)
            y.backward(dy)
            return y, x.grad

        def results(out: Any) -> Any:
            y, dx = out  # of the first run, so gradients were zero before it
            grads = {name: p.grad.float().numpy() for name, p in zip(names, layer.parameters(), strict=True)}
            return as_arrays(y=y.detach().float().numpy(), dx=dx.float().numpy(), **grads)

        return Side(run, results)

    def product(self, problem: Problem) -> Side:
        """Build the product x W^T alone."""
        W, x = torch.from_numpy(problem.W), torch.from_numpy(problem.x.reshape(-1, problem.case.I))

        @torch.inference_mode()
        def run() -> Any:
            return torch.nn.functional.linear(x, W)

        return Side(run, lambda y: as_arrays(y=y.numpy()))

    def step(self, problem: Problem) -> Side:
        """Build one step of a cell that carries its state, which is faster than a layer with T = 1."""
        case = problem.case
        cell = getattr(torch.nn, f"{case.cell}Cell")(case.I, case.H)
        names = {name.removesuffix("_l0"): array for name, array in problem.state_dict.items()}
        cell.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in names.items()})
        x, carried, pair = torch.from_numpy(problem.x[0]), [None], case.cell == "LSTM"

        @torch.inference_mode()
        def run() -> Any:
            state = carried[0] = cell(x, carried[0])
            return state

        return Side(run, lambda state: as_arrays(y=(state[0] if pair else state).numpy()))


def _dtype(problem: Problem) -> Any:
    """Return the type of weights, inputs and results. Float32 weights under autocast would be slower."""
    return torch.bfloat16 if problem.case.variant == MEDIUM else torch.float32


def _with_lengths(layer: Any, problem: Problem) -> Any:
    """Return a function from x to y that packs and unpacks sequences if they have lengths."""
    if problem.lengths is None:
        return lambda x: layer(x)[0]
    lengths = torch.from_numpy(problem.lengths)

    def call(x: Any) -> Any:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        return torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0])[0]

    return call


PEER = Torch()
