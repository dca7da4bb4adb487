"""``python -m bench.pytorch``: measure fastrnn.torch next to PyTorch and to the bare layer, as tables for docs/pytorch.md.

packed    a training step on packed sequences, lengths uniform in 1..T, compared with torch.nn's
padded    a training step on padded sequences compared with torch.nn's, and the bare layer's share of that gain
overhead  a module's call of one step compared with the bare layer's call
language  a training step of a character model (embedding, 2 LSTM, linear, Adam) before and after accelerate
turns     a forward pass right after an operator of torch, compared with one after a pause of 20 ms
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastrnn
import fastrnn.torch
from fastrnn.benchmark.measure import Effort, Timing, alternate
from fastrnn.commands.guard import guarded

from .tables import Row, chosen, machine_line, question_parser, show

T = 100
Call = Callable[[], Any]


def pair(name: str, H: int, layers: int = 1) -> tuple[nn.Module, nn.Module]:
    """Return torch's module and ours with the same parameters."""
    theirs = getattr(nn, name)(H, H, layers)
    ours = getattr(fastrnn.torch, name)(H, H, layers)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def training_step(module: nn.Module, x: torch.Tensor | PackedSequence) -> Call:
    """Return a forward and backward pass with gradients for x and the parameters."""
    data = (x.data if isinstance(x, PackedSequence) else x).requires_grad_()
    dy = torch.randn(*data.shape[:-1], module.hidden_size)

    def step() -> None:
        module.zero_grad()
        data.grad = None
        y, _ = module(x._replace(data=data) if isinstance(x, PackedSequence) else data)
        (y.data if isinstance(y, PackedSequence) else y).backward(dy)

    return step


def bare_step(name: str, H: int, x: np.ndarray) -> Call:
    """Return the training step of fastrnn's layer of this name."""
    layer = getattr(fastrnn, name)(H, H, rng=0)
    dy = np.random.default_rng(0).standard_normal((*x.shape[:2], H), dtype=np.float32)

    def step() -> None:
        layer.zero_grad()
        _, backward = layer.forward(x)
        backward(dy)

    return step


def milliseconds(timing: Timing) -> str:
    """Return the median to three digits."""
    return f"{timing.median * 1e3:.3g}"


def ratio(slow: Timing, fast: Timing) -> str:
    """Return the first side's time divided by the second side's."""
    return f"{slow.median / fast.median:.2f}"


def packed(threads: int, effort: Effort) -> Iterator[Row]:
    yield "layer, H, B", "PyTorch ms", "fastrnn ms", "times", "page faults: PyTorch", "fastrnn"
    for name in ("LSTM", "GRU"):
        for H in (64, 256, 512):
            lengths = -np.sort(-np.random.default_rng(0).integers(1, T + 1, 32))
            x = pack_padded_sequence(torch.randn(int(lengths[0]), 32, H), torch.from_numpy(lengths))
            theirs, ours = alternate([training_step(module, x) for module in pair(name, H)], effort)
            faults = f"{theirs.faults:.0f}", f"{ours.faults:.0f}"
            yield f"{name}, {H}, 32", milliseconds(theirs), milliseconds(ours), ratio(theirs, ours), *faults


def padded(threads: int, effort: Effort) -> Iterator[Row]:
    yield (
        "layer, H, B",
        "PyTorch ms",
        "fastrnn.torch ms",
        "times",
        "bare layer ms",
        "times",
        "page faults: PyTorch",
        "fastrnn",
    )
    for name in ("RNN", "GRU", "LSTM"):
        for H in (32, 128, 512):
            for B in (1, 8, 32):
                x = torch.randn(T, B, H)
                sides = [training_step(module, x) for module in pair(name, H)]
                theirs, ours, bare = alternate([*sides, bare_step(name, H, x.detach().numpy())], effort)
                gains = milliseconds(ours), ratio(theirs, ours), milliseconds(bare), ratio(theirs, bare)
                yield f"{name}, {H}, {B}", milliseconds(theirs), *gains, f"{theirs.faults:.0f}", f"{ours.faults:.0f}"


def overhead(threads: int, effort: Effort) -> Iterator[Row]:
    yield "layer, H, B = T = 1", "gradient", "bare us", "module us", "overhead us", "PyTorch us"
    for name in ("LSTM", "GRU"):
        for H in (64, 256):
            layer = getattr(fastrnn, name)(H, H, rng=0)
            theirs, ours = pair(name, H)
            x = torch.randn(1, 1, H)
            for gradient in (False, True):
                call = layer.forward if gradient else layer
                with torch.set_grad_enabled(gradient):
                    sides = [partial(call, x.numpy()), partial(ours, x), partial(theirs, x)]
                    bare, module, plain = (timing.median * 1e6 for timing in alternate(sides, effort))
                numbers = (f"{value:.1f}" for value in (bare, module, module - bare, plain))
                yield f"{name}, {H}", "yes" if gradient else "no", *numbers


class CharacterModel(nn.Module):
    """Embedding, two LSTM layers and a linear layer."""

    def __init__(self, vocabulary: int = 64, hidden_size: int = 512) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, hidden_size)
        self.rnn = nn.LSTM(hidden_size, hidden_size, 2)
        self.out = nn.Linear(hidden_size, vocabulary)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(self.embed(ids))[0])


def language(threads: int, effort: Effort) -> Iterator[Row]:
    yield "B, T = 50", "PyTorch ms", "after accelerate ms", "times"
    for B in (8, 32, 64):
        sides: list[Call] = []
        for accelerated in (False, True):
            torch.manual_seed(0)
            model, ids = CharacterModel(), torch.randint(64, (51, B))
            if accelerated:
                fastrnn.torch.accelerate(model)
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)

            def step(model: nn.Module = model, ids: torch.Tensor = ids, optimizer: Any = optimizer) -> None:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(ids[:-1]).flatten(0, 1), ids[1:].flatten()).backward()
                optimizer.step()

            sides.append(step)
        theirs, ours = alternate(sides, effort)
        yield f"{B}", milliseconds(theirs), milliseconds(ours), ratio(theirs, ours)


def turns(threads: int, effort: Effort) -> Iterator[Row]:
    yield "layer, H, B, T = 20", "after a pause us", "after torch.relu us", "slower by", "PyTorch after torch.relu us"
    a = torch.randn(1000, 1000)
    for name in ("LSTM", "GRU"):
        for H in (128, 256, 512):
            for B in (1, 8, 32):
                theirs, ours = pair(name, H)
                x = torch.randn(20, B, H)
                samples: list[list[float]] = [[], [], []]
                with torch.no_grad():
                    for _ in range(max(20, int(effort.seconds / 0.03))):
                        for times, module, rest in zip(samples, (ours, ours, theirs), (True, False, False), strict=True):
                            time.sleep(0.02) if rest else torch.relu(a)
                            begin = time.perf_counter()
                            module(x)
                            times.append(time.perf_counter() - begin)
                paused, at_once, plain = (median(times) * 1e6 for times in samples)
                loss = f"{100 * (at_once / paused - 1):+.0f} %"
                yield f"{name}, {H}, {B}", f"{paused:.0f}", f"{at_once:.0f}", loss, f"{plain:.0f}"


QUESTIONS = {question.__name__: question for question in (packed, padded, overhead, language, turns)}


def main() -> None:
    """Print a table for each question and number of threads, row by row."""
    parser = question_parser("bench.pytorch", __doc__)
    arguments = parser.parse_args()
    questions = chosen(parser, arguments.questions, QUESTIONS)
    print(machine_line(pytorch=torch.__version__))
    for name in questions:
        for threads in [2] if name == "turns" else arguments.threads:
            torch.set_num_threads(threads)
            print(f"\n{name}, threads: {threads}\n")
            show(QUESTIONS[name](threads, Effort(arguments.seconds)))


if __name__ == "__main__":
    raise SystemExit(guarded(main))
