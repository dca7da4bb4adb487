"""One to one: a plain feed-forward network, which is a sequence model with a single time step.

It separates two interleaved half-moons of points, which no straight line can. ``python examples/zoo/one_to_one.py`` takes a
few seconds.
"""

import argparse
from pathlib import Path

import numpy as np
import saving

from fastrnn import Activation, Examples, Input, Linear, Model, fit
from fastrnn.commands.arguments import integer


def two_moons(number: int, rng: np.random.Generator, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Make noisy ``points [number, 2]`` on two half-circles that reach into each other, and ``moons [number]``, 0 or 1."""
    moons = rng.integers(2, size=number)
    angle = np.pi * (rng.random(number) + moons)
    points = np.stack([np.cos(angle) + moons, np.sin(angle) + 0.5 * moons], axis=1)
    return (points + noise * rng.standard_normal(points.shape)).astype(np.float32), moons


def network(hidden: int, rng: np.random.Generator, dtype: str = "float32") -> Model:
    """Build a model from points ``[B, 2]`` to logits ``[B, 2]``: two layers of tanh, or a line with ``hidden=0``."""
    point = Input(("B", 2), dtype=dtype)
    if not hidden:
        return Model(point, Linear(2, 2, dtype=dtype, rng=rng)(point))
    h = Activation("tanh")(Linear(2, hidden, dtype=dtype, rng=rng)(point))
    h = Activation("tanh")(Linear(hidden, hidden, dtype=dtype, rng=rng)(h))
    return Model(point, Linear(hidden, 2, dtype=dtype, rng=rng)(h))


def main(number: int = 2000, epochs: int = 30, out: Path | None = None) -> dict[str, float]:
    """Train; print and return the share of held-out points that each method gets right; save the network in ``out``."""
    rng = np.random.default_rng(0)
    (points, moons), (held_out, truth) = two_moons(number, rng), two_moons(number, rng)
    shares = {"the commoner moon": float(np.mean(truth == np.bincount(moons).argmax()))}
    for name, hidden in (("a straight line", 0), ("network", 16)):
        model = network(hidden, rng)
        history = fit(model, Examples(points, moons), epochs=epochs, batch_size=32, lr=1e-2)
        losses = f"loss {history['loss'][0]:.4f} in epoch 1, {history['loss'][-1]:.4f} in epoch {epochs}, the one used"
        print(f"{name}: trained on {number:,} points, {losses}")
        shares[name] = float(np.mean(model(held_out).argmax(axis=1) == truth))
    print(f"right, of {number:,} other points:")
    for name, share in shares.items():
        print(f"{share:7.2%}  {name}")
    saving.save(out, "one_to_one", model)
    return shares


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=integer(1), default=30, help="passes over the points (default: %(default)s)")
    saving.add_options(parser)
    arguments = parser.parse_args()
    saving.claim(arguments.out, arguments.overwrite)
    main(epochs=arguments.epochs, out=arguments.out)
