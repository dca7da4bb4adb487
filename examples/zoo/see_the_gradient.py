"""See the gradient: how far the error at "was/were" reaches back in time, in an RNN, a GRU and an LSTM.

"the cats , which the dog near the old singer liked , [were] full": the verb agrees with the subject, not with the nouns of
the clause in between. The example makes such sentences, trains the three cells to choose between was and were, and draws

- ``gradient.png``: the norm of dL/dh_t (dL/dc_t in the LSTM) over time, before and after training;
- ``agreement.png``: accuracy by the distance of subject and verb, for networks trained on that distance alone;
- ``exploding.png``: an RNN with large recurrent weights, trained with and without clipping;
- ``gates.png``: the unit that stores the number, and its gates, word by word.

It saves the networks that learnt all distances, each as ``CELL.safetensors``, which :func:`fastrnn.load_model` reads.

``python examples/zoo/see_the_gradient.py --out pictures``
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import saving
from gradient_pictures import Panel, draw_accuracy, draw_explosion, draw_gates, draw_gradients
from numpy.typing import NDArray

import fastrnn
from fastrnn import diagnostics, optim
from fastrnn.commands.arguments import integer, real
from fastrnn.losses import softmax_cross_entropy

Array = NDArray[Any]

NOUNS = ["cat", "dog", "boy", "girl", "bird", "teacher", "farmer", "doctor", "singer", "baker"]
VERBS = ["saw", "liked", "heard", "found", "chased", "followed", "admired", "remembered", "painted", "called"]
ADJECTIVES = ["old", "small", "hungry", "happy", "quiet", "clever"]
PREPOSITIONS = ["near", "behind", "beside", "with", "without", "above"]
WORDS = ["the", ",", "which", *NOUNS, *(noun + "s" for noun in NOUNS), *VERBS, *ADJECTIVES, *PREPOSITIONS]
IDS = {word: i for i, word in enumerate(WORDS)}
SHORTEST = 6  # words from the subject to the verb, in a clause without more phrases
DISTANCES = (6, 12, 18, 24, 36, 48)
MIXED = (6, 9, 12, 15, 18, 21, 24, 27, 30)  # the distances of the networks for all distances
SCALES = (1.0, 2.5, 4.0, 6.0)  # of an RNN's recurrent weights
CLIP = 0.25
PICTURES = ("agreement.png", "gradient.png", "gates.png", "exploding.png")
# Cell, and bias of the gate that keeps the state: sigmoid(4) = 0.98 keeps it for 50 words (log T: Tallec & Ollivier 2018).
KINDS = {
    "RNN": ("RNN", 0.0),
    "GRU": ("GRU", 0.0),
    "LSTM": ("LSTM", 0.0),
    "GRU, gate bias 4": ("GRU", 4.0),
    "LSTM, gate bias 4": ("LSTM", 4.0),
}


def sentences(
    distance: int, B: int, rng: np.random.Generator, held_out: bool = False, misleading: bool = False
) -> tuple[Array, Array]:
    """Make B sentences up to their verb, ``ids [distance + 2, B]``, and the subjects' numbers ``[B]``, 1 for plural.

    Nouns of the clause have a random number, or all the opposite one if ``misleading``. One in five pairs of a subject and a
    clause's verb occurs only in ``held_out`` sentences.
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
    """Draw the lengths, 3 or 4, of phrases such as "near the (old) dog" that have ``length`` words in all: 0, 3, 4, 6 .."""
    fours = [n for n in range(length // 4 + 1) if (length - 4 * n) % 3 == 0]
    if not fours:
        raise ValueError(f"distance must be {SHORTEST}, or more by 3, 4, 6 or above, got {SHORTEST + length}")
    n = int(rng.choice(fours))
    return [int(p) for p in rng.permutation([4] * n + [3] * ((length - 4 * n) // 3))]


@dataclass
class Network:
    """A recurrent layer, and a model with it from ids ``[T, B]`` to the logits of was and were ``[B, 2]``."""

    cell: Any
    head: fastrnn.Linear
    model: fastrnn.Model


def build(cell: str, gate_bias: float = 0.0, hidden: int = 32, seed: int = 0) -> Network:
    """Build a network; ``gate_bias`` is added to the initial bias of z in a GRU, f in an LSTM."""
    rng = np.random.default_rng(seed)
    layer = {"RNN": fastrnn.RNN, "GRU": fastrnn.GRU, "LSTM": fastrnn.LSTM}[cell](len(WORDS), hidden, rng=rng)
    if cell != "RNN":
        bias = layer.bias_ih_l0.data.copy()
        bias[hidden : 2 * hidden] += gate_bias  # gates are r z n, and i f g o
        layer.bias_ih_l0.assign(bias)
    head = fastrnn.Linear(hidden, 2, rng=rng)
    ids = fastrnn.Input(("T", "B"), dtype="int64")
    y, _ = layer(ids)
    return Network(layer, head, fastrnn.Model(ids, head(fastrnn.Last()(y))))


def train(
    network: Network,
    distances: Sequence[int],
    steps: int,
    optimizer: optim.Optimizer,
    rng: np.random.Generator,
    clip: float | None = 1.0,
    enough: float = 0.0,
) -> tuple[Array, Array]:
    """Train on new sentences of one distance per step; return each step's loss and gradient norm before clipping.

    Training ends early if the mean loss of 25 steps is below ``enough``.
    """
    parameters = network.model.parameters()
    losses: list[float] = []
    norms: list[float] = []
    while len(losses) < steps and not (len(losses) >= 25 and np.mean(losses[-25:]) < enough):
        ids, number = sentences(int(rng.choice(distances)), 32, rng)
        logits, backward = network.model.forward(ids)
        loss, dlogits = softmax_cross_entropy(logits, number)
        optimizer.zero_grad()
        backward(dlogits)
        norms.append(optim.grad_norm(parameters))
        if clip is not None:
            optim.clip_grad_norm(parameters, clip, norms[-1])
        optimizer.step()
        losses.append(loss)
    return np.array(losses), np.array(norms)


def accuracy(network: Network, distance: int, misleading: bool = True, batches: int = 8) -> float:
    """Return the share of held-out sentences with the correct number."""
    rng = np.random.default_rng(distance)
    right = []
    for _ in range(batches):  # each has its own pattern of phrases
        ids, number = sentences(distance, 64, rng, held_out=True, misleading=misleading)
        right.append(network.model(ids).argmax(1) == number)
    return float(np.mean(right))


def gradient_norms(network: Network, distance: int, B: int = 64) -> Array:
    """Return the mean norm over sentences of dL/dh_t ``[T]`` (dL/dc_t in an LSTM), where L is the loss at the verb."""
    ids, number = sentences(distance, B, np.random.default_rng(1), held_out=True)
    y, _ = network.cell(ids)
    logits, backward = network.head.forward(y[-1])
    dy = np.zeros_like(y)
    dy[-1] = backward(softmax_cross_entropy(logits, number)[1])
    network.head.zero_grad()
    (found,) = diagnostics.state_gradients(network.cell, ids, dy)
    return np.linalg.norm(found.get("c", found["h"]), axis=2).mean(axis=1)


def keeper(network: Network, distance: int) -> tuple[int, float]:
    """Return the unit whose state best shows the subject's number at every step, and its weakest correlation.

    The state is c in an LSTM, h in the others. The correlation is Pearson's, over held-out sentences.
    """
    ids, number = sentences(distance, 256, np.random.default_rng(2), held_out=True)
    (activity,) = diagnostics.gates(network.cell, ids)
    state = activity.get("c", activity["h"])[1:]
    sign = (number - number.mean()) / number.std()
    centred = state - state.mean(axis=1, keepdims=True)
    correlation = np.einsum("tbh,b->th", centred, sign) / len(sign) / (state.std(axis=1) + 1e-12)
    weakest = np.abs(correlation).min(axis=0)
    return int(weakest.argmax()), float(weakest.max())


def large_rnn(scale: float, seed: int = 0) -> Network:
    """Build an RNN with ``scale`` times larger initial recurrent weights; from about 2 on its gradient grows."""
    network = build("RNN", seed=seed)
    network.cell.weight_hh_l0.assign(network.cell.weight_hh_l0.data * np.float32(scale))
    return network


def explode(clip: float | None, steps: int, seed: int) -> tuple[Array, Array]:
    """Train an RNN with large weights by gradient descent with momentum; return its losses and gradient norms."""
    network = large_rnn(SCALES[1], seed)
    sgd = optim.SGD(network.model.parameters(), lr=0.03, momentum=0.9)
    return train(network, MIXED, steps, sgd, np.random.default_rng(seed), clip)


def gate_panels(network: Network, distance: int) -> tuple[Panel, list[str]]:
    """Return a panel for :func:`draw_gates`, and the words of the sentence whose gates it shows."""
    unit, correlation = keeper(network, distance)
    ids, number = sentences(distance, 24, np.random.default_rng(5), held_out=True)
    (activity,) = diagnostics.gates(network.cell, ids)
    shown = int(number.argmax())
    if "c" in activity:
        gates = {"f, keep": activity["f"], "i, write": activity["i"]}
    else:
        gates = {"1 - z, update": 1 - activity["z"]}
    title = f"{'c' if 'c' in activity else 'h'} of unit {unit} in sentences whose subject is plural (red) or singular (blue)"
    states = activity.get("c", activity["h"])[:, :, unit]
    panel = Panel(title, correlation, states, number, {name: gate[:, shown, unit] for name, gate in gates.items()})
    return panel, [WORDS[k] for k in ids[:, shown]]


def trained(kind: str, distances: Sequence[int], seed: int, steps: int, lr: float) -> tuple[Network, int]:
    """Train a network until its loss is below 0.005, for ``steps`` steps at most; return it and its number of steps."""
    network = build(*KINDS[kind], seed=seed)
    adam = optim.Adam(network.model.parameters(), lr=lr)
    losses, _ = train(network, distances, steps, adam, np.random.default_rng(seed), enough=0.005)
    return network, len(losses)


def saved_as(kind: str) -> str:
    """Return the file name of a trained network, such as ``gru-gate-bias-4.safetensors``."""
    return f"{kind.lower().replace(', ', '-').replace(' ', '-')}.safetensors"


def main(arguments: argparse.Namespace) -> dict[str, Array]:
    """Train, print and draw; return the accuracies ``[seeds, distances]`` of each kind of network."""
    started, out, far, seeds = time.perf_counter(), arguments.out, 42, range(arguments.seeds)
    saving.claim(out, arguments.overwrite, [*PICTURES, *map(saved_as, KINDS)])

    table = {}
    print(f"held-out accuracy, mean of {len(seeds)} seeds; words between, in training too:")
    print(" " * 20 + "".join(f"{distance:6d}" for distance in arguments.distances))
    for kind in KINDS:
        table[kind] = np.array(
            [
                [accuracy(trained(kind, (d,), seed, arguments.steps, arguments.lr)[0], d) for d in arguments.distances]
                for seed in seeds
            ]
        )
        print(f"{kind:20s}" + "".join(f"{mean:6.2f}" for mean in table[kind].mean(axis=0)))
    draw_accuracy(arguments.distances, table, out / "agreement.png")

    print(f"trained on {MIXED[0]} to {MIXED[-1]} words: steps that each seed took, and accuracy at 60 words")
    mixed = {}
    for kind in KINDS:
        runs = [trained(kind, MIXED, seed, arguments.mixed_steps, arguments.lr) for seed in seeds]
        mixed[kind] = runs[0][0]
        print(f"{kind:20s}" + "".join(f"{steps:6d} ({accuracy(network, 60):.2f})" for network, steps in runs))
    for kind, network in mixed.items():
        network.model.save(out / saved_as(kind))
    before = {kind: gradient_norms(build(*KINDS[kind]), far) for kind in KINDS}
    draw_gradients(before, {kind: gradient_norms(mixed[kind], far) for kind in KINDS}, out / "gradient.png")
    panels = {kind: gate_panels(mixed[kind], 21) for kind in ("GRU, gate bias 4", "LSTM, gate bias 4")}
    draw_gates({kind: panel for kind, (panel, _) in panels.items()}, panels["GRU, gate bias 4"][1], out / "gates.png")

    growing = {scale: gradient_norms(large_rnn(scale), far) for scale in SCALES}
    explosions = {
        name: [explode(clip, arguments.steps, seed) for seed in seeds]
        for name, clip in (("without clipping", None), (f"clipped to {CLIP}", CLIP))
    }
    draw_explosion(growing, explosions, CLIP, out / "exploding.png")
    for name, each in explosions.items():
        print(f"exploding RNN, {name}: last losses " + ", ".join(f"{losses[-50:].mean():.4f}" for losses, _ in each))
    print(f"four pictures and {len(mixed)} networks in {out}, {time.perf_counter() - started:.0f} seconds")
    return table


def distance(text: str) -> int:
    """Parse a number of words between subject and verb that phrases can fill; an argparse type."""
    number = integer(SHORTEST)(text)
    try:
        phrases(number - SHORTEST, np.random.default_rng(0))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return number


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    saving.add_options(parser, Path("runs/gradient"))
    add("--steps", type=integer(1), default=600, help="most training steps of a network for one distance (%(default)s)")
    add("--mixed-steps", type=integer(1), default=3000, help="most training steps of one for all distances (%(default)s)")
    add("--lr", type=real(0, above=True), default=3e-3, help="Adam's learning rate (%(default)s)")
    add("--distances", type=distance, nargs="+", default=DISTANCES, help="words from subject to verb (%(default)s)")
    add("--seeds", type=integer(1), default=3, help="networks of each cell (%(default)s)")
    return parser.parse_args(words)


if __name__ == "__main__":
    with saving.short_errors():
        main(parse())
