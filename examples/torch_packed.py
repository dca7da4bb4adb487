"""Train a PyTorch classifier of sequences of different lengths, on fastrnn's kernels by one line.

Each sequence is a noisy wave; its class is the number of periods in it, whatever its length. The model packs the sequences,
as PyTorch scripts do. Only the line with ``accelerate`` names fastrnn. Run it: ``python examples/torch_packed.py``.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import fastrnn.torch

CLASSES = 4  # 1 to 4 periods
LONGEST = 100  # steps


class Classifier(nn.Module):
    """Class of a sequence from the final states of a bidirectional GRU."""

    def __init__(self, hidden_size: int = 64) -> None:
        super().__init__()
        self.rnn = nn.GRU(1, hidden_size, bidirectional=True)
        self.out = nn.Linear(2 * hidden_size, CLASSES)

    def forward(self, sequences: list[Tensor]) -> Tensor:
        """Return logits [B, CLASSES] for sequences [T_b, 1]."""
        _, h_n = self.rnn(pack_sequence(sequences, enforce_sorted=False))
        return self.out(torch.cat([h_n[0], h_n[1]], 1))


def batch(size: int) -> tuple[list[Tensor], Tensor]:
    """Return random sequences and their classes int64 [size]."""
    periods = torch.randint(CLASSES, (size,))
    lengths = torch.randint(10, LONGEST + 1, (size,)).tolist()
    phases = [torch.linspace(0, 2 * math.pi * (int(k) + 1), n) for k, n in zip(periods, lengths, strict=True)]
    return [(phase.sin() + 0.3 * torch.randn(len(phase)))[:, None] for phase in phases], periods


def train(model: Classifier, steps: int, batch_size: int) -> float:
    """Train the model; returns the seconds it took."""
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    begin = time.perf_counter()
    for step in range(1, steps + 1):
        sequences, classes = batch(batch_size)
        loss = nn.functional.cross_entropy(model(sequences), classes)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % max(1, steps // 5) == 0:
            print(f"step {step:4}  loss {loss.item():.3f}")
    return time.perf_counter() - begin


def main(argv: list[str] | None = None) -> None:
    """Train with and without fastrnn from the same seed, and print the accuracy and the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args(argv)
    seconds = {}
    for name in ("PyTorch", "fastrnn"):
        torch.manual_seed(0)
        model = Classifier()
        if name == "fastrnn":
            print(fastrnn.torch.accelerate(model))
        seconds[name] = train(model, arguments.steps, arguments.batch_size)
        sequences, classes = batch(500)
        with torch.no_grad():
            accuracy = (model(sequences).argmax(1) == classes).float().mean().item()
        print(f"{name}: accuracy {accuracy:.3f} on 500 new sequences, {seconds[name]:.1f} s")
    print(f"fastrnn is {seconds['PyTorch'] / seconds['fastrnn']:.1f} times as fast")


if __name__ == "__main__":
    main()
