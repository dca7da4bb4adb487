"""See the gradient: how far back in time the error at "was/were" reaches, in an RNN, a GRU and an LSTM.

"the cats , which the dog near the old singer liked , [were] full": the verb agrees with the subject, and the nouns of the
clause in between do not matter. The example makes the sentences, trains the three cells to choose between was and were,
and draws

- ``gradient.png``: the norm of dL/dh_t over time, before and after training;
- ``agreement.png``: accuracy by the distance of subject and verb, where all nouns in between are of the other number;
- ``exploding.png``: an RNN with large recurrent weights, trained with and without clipping;
- ``gates.png``: the unit that keeps the number, and its gates, word by word.

``python examples/zoo/see_the_gradient.py --out pictures``
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastrnn
from fastrnn import diagnostics, optim
from fastrnn.losses import softmax_cross_entropy

Array = NDArray[Any]

NOUNS = ["cat", "dog", "boy", "girl", "bird", "teacher", "farmer", "doctor", "singer", "baker"]
VERBS = ["saw", "liked", "heard", "found", "chased", "followed", "admired", "remembered", "painted", "called"]
ADJECTIVES = ["old", "small", "hungry", "happy", "quiet", "clever"]
PREPOSITIONS = ["near", "behind", "beside", "with", "without", "above"]
WORDS = ["the", ",", "which", *NOUNS, *(noun + "s" for noun in NOUNS), *VERBS, *ADJECTIVES, *PREPOSITIONS]
IDS = {word: i for i, word in enumerate(WORDS)}
SHORTEST = 6  # words from the subject to the verb, in a clause without more phrases
TRAINED = (6, 9, 12, 15, 18, 21, 24, 27, 30)
TESTED = (6, 12, 18, 24, 30, 36, 42, 48, 60)
CELLS = ("RNN", "GRU", "LSTM")
COLOURS = {"RNN": "#c2410c", "GRU": "#1d4ed8", "LSTM": "#15803d"}


def sentences(
    distance: int, B: int, rng: np.random.Generator, held_out: bool = False, misleading: bool = False
) -> tuple[Array, Array]:
    """B sentences up to their verb, ``ids [distance + 2, B]``, and the subject's number ``[B]``, 1 for plural.

    Nouns of the clause have any number, or all the other one if ``misleading``. Of the pairs of a subject and a clause's
    verb one in five occurs only in sentences ``held_out``.
    """
    number = rng.integers(2, size=B)
    subject = rng.integers(len(NOUNS), size=B)
    remainder = np.zeros(B, np.int64) if held_out else rng.integers(1, 5, size=B)
    verb = (remainder - subject) % 5 + 5 * rng.integers(2, size=B)

    def noun() -> Array:
        plural = 1 - number if misleading else rng.integers(2, size=B)
        return IDS[NOUNS[0]] + plural * len(NOUNS) + rng.integers(len(NOUNS), size=B)

    def one_of(words: Sequence[str]) -> Array:
        return IDS[words[0]] + rng.integers(len(words), size=B)

    rows = [IDS["the"], IDS[NOUNS[0]] + number * len(NOUNS) + subject, IDS[","], IDS["which"], IDS["the"], noun()]
    for length in phrases(distance - SHORTEST, rng):
        rows += [one_of(PREPOSITIONS), IDS["the"], *([one_of(ADJECTIVES)] if length == 4 else []), noun()]
    rows += [IDS[VERBS[0]] + verb, IDS[","]]
    return np.stack([np.broadcast_to(row, B) for row in rows]), number


def phrases(length: int, rng: np.random.Generator) -> list[int]:
    """Phrases of three or four words, "near the dog" or "near the old dog", so many words in all: 0, 3, 4, 6 or more."""
    fours = [n for n in range(length // 4 + 1) if (length - 4 * n) % 3 == 0]
    if not fours:
        raise ValueError(f"distance must be {SHORTEST}, or more by 3, 4, 6 or above, got {SHORTEST + length}")
    n = int(rng.choice(fours))
    return [int(p) for p in rng.permutation([4] * n + [3] * ((length - 4 * n) // 3))]


@dataclass
class Network:
    """The recurrent layer, and a model of it: ids ``[T, B]`` to the logits of was and were ``[B, 2]``."""

    cell: Any
    head: fastrnn.Linear
    model: fastrnn.Model


def build(cell: str, hidden: int = 32, seed: int = 0, open_gates: bool = True) -> Network:
    """A network that starts with gates that keep the state (a bias of 1 at them), or (torch) that half forget it."""
    rng = np.random.default_rng(seed)
    if cell == "LSTM":
        layer: Any = fastrnn.LSTM(len(WORDS), hidden, forget_bias=1.0 if open_gates else None, rng=rng)
    else:
        layer = {"RNN": fastrnn.RNN, "GRU": fastrnn.GRU}[cell](len(WORDS), hidden, rng=rng)
    if cell == "GRU" and open_gates:
        bias = layer.bias_ih_l0.data.copy()
        bias[hidden : 2 * hidden] = 1.0  # gate z, which keeps h
        layer.bias_ih_l0.assign(bias)
    head = fastrnn.Linear(hidden, 2, rng=rng)
    ids = fastrnn.Input(("T", "B"), dtype="int64")
    y, _ = layer(ids)
    return Network(layer, head, fastrnn.Model(ids, head(fastrnn.Last()(y))))


def train(
    network: Network, steps: int, optimizer: optim.Optimizer, clip: float | None, rng: np.random.Generator,
    distances: Sequence[int] = TRAINED, B: int = 64,
) -> tuple[Array, Array]:  # fmt: skip
    """Train on fresh sentences of one distance a step; the loss and the gradient's norm (before clipping) of each step."""
    parameters = network.model.parameters()
    history = []
    for _ in range(steps):
        ids, number = sentences(int(rng.choice(distances)), B, rng)
        logits, backward = network.model.forward(ids)
        loss, dlogits = softmax_cross_entropy(logits, number)
        optimizer.zero_grad()
        backward(dlogits)
        norm = optim.grad_norm(parameters)
        if clip is not None:
            optim.clip_grad_norm(parameters, clip, norm)
        optimizer.step()
        history.append((loss, norm))
    losses, norms = np.array(history).T
    return losses, norms


def accuracy(network: Network, distance: int, misleading: bool = True, batches: int = 8) -> float:
    """The share of held-out sentences whose number is right."""
    rng = np.random.default_rng(distance)
    right = []
    for _ in range(batches):  # each has its own pattern of phrases
        ids, number = sentences(distance, 64, rng, held_out=True, misleading=misleading)
        right.append(network.model(ids).argmax(1) == number)
    return float(np.mean(right))


def gradient_norms(network: Network, distance: int, B: int = 64) -> dict[str, Array]:
    """The mean norms over sentences of dL/dh_t ``[T]``, and for an LSTM of dL/dc_t, where L is the loss at the verb."""
    ids, number = sentences(distance, B, np.random.default_rng(1), held_out=True)
    y, _ = network.cell(ids)
    logits, backward = network.head.forward(y[-1])
    dy = np.zeros_like(y)
    dy[-1] = backward(softmax_cross_entropy(logits, number)[1])
    network.head.zero_grad()
    (found,) = diagnostics.state_gradients(network.cell, ids, dy)
    return {name: np.linalg.norm(gradient, axis=2).mean(axis=1) for name, gradient in found.items()}


def keeper(network: Network, distance: int) -> tuple[int, float]:
    """The unit whose state says the subject's number at every step up to the verb, and its weakest correlation.

    The state is c of an LSTM, h of the others; the correlation is Pearson's, over held-out misleading sentences.
    """
    ids, number = sentences(distance, 256, np.random.default_rng(2), held_out=True, misleading=True)
    (activity,) = diagnostics.gates(network.cell, ids)
    state = activity.get("c", activity["h"])[1:]
    sign = (number - number.mean()) / number.std()
    centred = state - state.mean(axis=1, keepdims=True)
    correlation = np.einsum("tbh,b->th", centred, sign) / len(sign) / (state.std(axis=1) + 1e-12)
    weakest = np.abs(correlation).min(axis=0)
    return int(weakest.argmax()), float(weakest.max())


def explode(scale: float, clip: float | None, steps: int, lr: float, hidden: int = 32, seed: int = 0) -> tuple[Array, Array]:
    """Losses and gradient norms of an RNN whose recurrent weights start ``scale`` times as large."""
    network = build("RNN", hidden, seed)
    network.cell.weight_hh_l0.assign(network.cell.weight_hh_l0.data * np.float32(scale))
    sgd = optim.SGD(network.model.parameters(), lr=lr, momentum=0.9)
    return train(network, steps, sgd, clip, np.random.default_rng(seed))


def draw_gradients(before: dict[str, dict[str, Array]], after: dict[str, dict[str, Array]], path: Path) -> None:
    """The norms of dL/dh_t, as shares of that at the verb, against the number of words before it."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, norms, title in ((left, before, "before training"), (right, after, "after training")):
        for cell, of in norms.items():
            for name, norm in of.items():
                back = np.arange(len(norm))[::-1]
                label = f"{cell}, dL/d{name}" if len(of) > 1 else cell
                axes.semilogy(back, norm / norm[-1], ":" if name == "c" else "-", color=COLOURS[cell], label=label)
        axes.invert_xaxis()
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("words back from the verb (the subject is at the left end)")
        axes.grid(alpha=0.3)
    left.set_ylabel("norm of dL/dh, as a share of that at the verb")
    left.legend()
    figure.savefig(path)


def draw_accuracy(table: dict[str, Array], path: Path) -> None:
    """Mean, least and best accuracy over the seeds ``[seeds, distances]`` against the distance."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    for cell, values in table.items():
        axes.plot(TESTED, values.mean(axis=0), ".-", color=COLOURS[cell], label=cell)
        axes.fill_between(TESTED, values.min(axis=0), values.max(axis=0), color=COLOURS[cell], alpha=0.15, linewidth=0)
    axes.axhline(0.5, color="#6b7280", linestyle="--", linewidth=1, label="the more frequent number")
    axes.axvline(max(TRAINED), color="#6b7280", linewidth=1)
    axes.text(max(TRAINED) + 0.5, 0.03, "longer than\nany trained on", fontsize=8, color="#6b7280")
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("words from the subject to the verb")
    axes.set_ylabel("held-out accuracy, misleading nouns between")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path)


def draw_explosion(runs: dict[str, tuple[Array, Array]], clip: float, path: Path) -> None:
    """Gradient norms and losses of the runs."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2)
    for (name, (losses, norms)), colour in zip(runs.items(), ("#c2410c", "#1d4ed8"), strict=True):
        left.semilogy(norms, color=colour, linewidth=0.6, alpha=0.8, label=name)
        smooth = np.convolve(losses, np.ones(25) / 25, mode="valid")
        right.plot(np.arange(len(smooth)) + 24, smooth, color=colour, label=name)
    left.axhline(clip, color="#111827", linestyle="--", linewidth=1, label=f"clipped to {clip:g}")
    left.set_title("norm of the gradient, before clipping", fontsize=10)
    right.set_title("loss (nats), mean of 25 steps", fontsize=10)
    right.axhline(np.log(2), color="#6b7280", linestyle="--", linewidth=1, label="guessing")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xlabel("training step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path)


def draw_gates(networks: dict[str, Network], distance: int, path: Path) -> None:
    """The unit that keeps the number: its state in sentences of either number, and its gates, word by word."""
    figure = new_figure(9, 6.5)
    panels = figure.subplots(4, 1, sharex=True, height_ratios=[3, 2, 3, 2])
    rng = np.random.default_rng(5)
    ids, number = sentences(distance, 40, rng, held_out=True, misleading=True)
    gates = {"GRU": {"1 - z": lambda a: 1 - a["z"]}, "LSTM": {"f": lambda a: a["f"], "i": lambda a: a["i"]}}
    shown = int(number.argmax())
    for i, (cell, of) in enumerate(gates.items()):
        unit, correlation = keeper(networks[cell], distance)
        (activity,) = diagnostics.gates(networks[cell].cell, ids)
        state, name = (activity["c"], "c") if "c" in activity else (activity["h"], "h")
        upper, lower = panels[2 * i : 2 * i + 2]
        for b, plural in enumerate(number):
            upper.plot(state[:, b, unit], color="#c2410c" if plural else "#1d4ed8", linewidth=0.7, alpha=0.6)
        upper.set_title(
            f"{cell}: {name} of unit {unit}, plural red, singular blue (|correlation| {correlation:.2f})", fontsize=9
        )
        for (gate, values), style in zip(of.items(), ("o-", "s:"), strict=False):
            lower.plot(values(activity)[:, shown, unit], style, color="#15803d", markersize=3, linewidth=1, label=gate)
        lower.set_ylim(-0.05, 1.05)
        lower.legend(fontsize=8, loc="center right")
        lower.set_title(f"{cell}: its gates in the sentence below", fontsize=9)
    panels[-1].set_xticks(range(len(ids)), [WORDS[k] for k in ids[:, shown]], rotation=60, fontsize=7)
    for axes in panels:
        axes.grid(alpha=0.3)
    figure.savefig(path)


def new_figure(width: float, height: float) -> Any:
    """A figure without matplotlib's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=90, layout="constrained")


def main(arguments: argparse.Namespace) -> dict[str, Array]:
    """Train, print accuracies, draw; the accuracies ``[seeds, distances]`` of each cell."""
    started, out, distance = time.perf_counter(), arguments.out, 42
    out.mkdir(parents=True, exist_ok=True)
    before = {cell: gradient_norms(build(cell), distance) for cell in CELLS}
    table, first = {}, {}
    print("accuracy at distance " + " ".join(f"{d:5d}" for d in TESTED))
    for cell in CELLS:
        rows = []
        for seed in range(arguments.seeds):
            network = build(cell, seed=seed)
            adam = optim.Adam(network.model.parameters(), lr=arguments.lr)
            train(network, arguments.steps, adam, 1.0, np.random.default_rng(seed))
            rows.append([accuracy(network, d) for d in TESTED])
            first.setdefault(cell, network)
            print(f"{cell:4s} seed {seed}          " + " ".join(f"{value:5.2f}" for value in rows[-1]))
        table[cell] = np.array(rows)
    draw_gradients(before, {cell: gradient_norms(first[cell], distance) for cell in CELLS}, out / "gradient.png")
    draw_accuracy(table, out / "agreement.png")
    draw_gates(first, 21, out / "gates.png")
    runs = {
        name: explode(arguments.scale, clip, arguments.explode_steps, arguments.explode_lr)
        for name, clip in (("without clipping", None), ("with clipping", 1.0))
    }
    draw_explosion(runs, 1.0, out / "exploding.png")
    print(f"four pictures in {out}, {time.perf_counter() - started:.0f} seconds")
    return table


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/gradient"), help="folder for the pictures (%(default)s)")
    add("--steps", type=int, default=2000, help="training steps of each network (%(default)s)")
    add("--lr", type=float, default=3e-3, help="Adam's learning rate (%(default)s)")
    add("--seeds", type=int, default=3, help="networks of each cell (%(default)s)")
    add("--scale", type=float, default=3.0, help="of the exploding RNN's recurrent weights (%(default)s)")
    add("--explode-steps", type=int, default=800, help="its training steps (%(default)s)")
    add("--explode-lr", type=float, default=0.05, help="its learning rate (%(default)s)")
    return parser.parse_args(words)


if __name__ == "__main__":
    main(parse())
