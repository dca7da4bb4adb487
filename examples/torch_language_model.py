"""Train a character model written in PyTorch, on fastrnn's kernels by one line, and sample from it.

The text is the list of dinosaur names that comes with fastrnn. Run it: ``python examples/torch_language_model.py``.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

import fastrnn.corpora
import fastrnn.torch


class CharacterModel(nn.Module):
    """Embedding, stacked LSTM and a linear layer: logits of the next character."""

    def __init__(self, vocabulary: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, hidden_size)
        self.rnn = nn.LSTM(hidden_size, hidden_size, layers)
        self.out = nn.Linear(hidden_size, vocabulary)

    def forward(self, ids: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return logits [T, B, V] of ``ids [T, B]`` and the state after the last step."""
        y, state = self.rnn(self.embed(ids), state)
        return self.out(y), state


def train(model: CharacterModel, ids: Tensor, steps: int, batch_size: int, length: int) -> float:
    """Train on random pieces of the text; returns the seconds it took."""
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    begin = time.perf_counter()
    for step in range(1, steps + 1):
        starts = torch.randint(len(ids) - length - 1, (batch_size,))
        pieces = torch.stack([ids[i : i + length + 1] for i in starts.tolist()], 1)  # [T + 1, B]
        logits, _ = model(pieces[:-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), pieces[1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % max(1, steps // 5) == 0:
            print(f"step {step:4}  loss {loss.item():.3f} nats a character")
    return time.perf_counter() - begin


@torch.no_grad()
def sample(model: CharacterModel, characters: str, n: int) -> str:
    """Return n characters, each drawn from the model's distribution given those before it."""
    token, state, drawn = torch.tensor([[characters.index("\n")]]), None, []
    for _ in range(n):
        logits, state = model(token, state)
        token = torch.multinomial(logits[-1].softmax(1), 1)
        drawn.append(characters[int(token)])
    return "".join(drawn)


def main(argv: list[str] | None = None) -> None:
    """Train with and without fastrnn from the same seed, print the times, and sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--length", type=int, default=50)
    arguments = parser.parse_args(argv)
    text = fastrnn.corpora.load("dinosaurs")
    characters = "".join(sorted(set(text)))
    ids = torch.tensor([characters.index(c) for c in text])
    seconds = {}
    for name in ("PyTorch", "fastrnn"):
        torch.manual_seed(0)
        model = CharacterModel(len(characters), arguments.hidden_size, arguments.layers)
        if name == "fastrnn":
            print(fastrnn.torch.accelerate(model))
        seconds[name] = train(model, ids, arguments.steps, arguments.batch_size, arguments.length)
        print(f"{name}: {seconds[name]:.1f} s")
    print(f"fastrnn is {seconds['PyTorch'] / seconds['fastrnn']:.1f} times as fast")
    print(sample(model, characters, 200))


if __name__ == "__main__":
    main()
