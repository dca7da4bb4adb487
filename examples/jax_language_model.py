"""Train a character model written in JAX, with ``lax.scan`` and with fastrnn's kernels, and sample from it.

Layers are modules in the manner of Flax: ``init`` makes a tree of parameters, ``apply`` runs the layer on one. The text is
the list of dinosaur names that comes with fastrnn. Run it: ``python examples/jax_language_model.py``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

import fastrnn.corpora
import fastrnn.jax

State = tuple[Array, Array]
Parameters = dict[str, Any]


def scanned(x: Array, h: Array, c: Array, W: Array, R: Array, b_ih: Array, b_hh: Array) -> tuple[Array, Array, Array]:
    """Return y, h_n and c_n, as fastrnn.jax.lstm does, by a loop over the time steps of x [T, B, I]."""

    def step(state: State, p: Array) -> tuple[State, Array]:
        h, c = state
        i, f, g, o = jnp.split(p + h @ R.T + b_hh, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    (h, c), y = lax.scan(step, (h, c), x @ W.T + b_ih)
    return y, h, c


@dataclass(frozen=True)
class LSTM:
    """An LSTM layer on one of two functions with the same arguments."""

    input_size: int
    hidden_size: int
    kernel: Any = fastrnn.jax.lstm

    def init(self, key: Array) -> Parameters:
        """Return random parameters in torch's layouts."""
        rows, bound = 4 * self.hidden_size, self.hidden_size**-0.5
        shapes = {"W": (rows, self.input_size), "R": (rows, self.hidden_size), "b_ih": (rows,), "b_hh": (rows,)}
        keys = jax.random.split(key, len(shapes))
        drawn = zip(keys, shapes.items(), strict=True)
        return {name: jax.random.uniform(key, shape, minval=-bound, maxval=bound) for key, (name, shape) in drawn}

    def apply(self, parameters: Parameters, x: Array, state: State) -> tuple[Array, State]:
        """Return y [T, B, H] of x [T, B, I], and the state after the last step."""
        y, h, c = self.kernel(x, *state, **parameters)
        return y, (h, c)


@dataclass(frozen=True)
class CharacterModel:
    """Embedding, stacked LSTM and a linear layer: logits of the next character."""

    vocabulary: int
    layers: tuple[LSTM, ...]

    def init(self, key: Array) -> Parameters:
        """Return random parameters."""
        H = self.layers[0].hidden_size
        embed, out, *keys = jax.random.split(key, 2 + len(self.layers))
        return {
            "embed": jax.random.normal(embed, (self.vocabulary, H)),
            "layers": [layer.init(key) for layer, key in zip(self.layers, keys, strict=True)],
            "out": jax.random.normal(out, (H, self.vocabulary)) * H**-0.5,
        }

    def zero_state(self, batch_size: int) -> list[State]:
        """Return the state before the first step."""
        zeros = [jnp.zeros((batch_size, layer.hidden_size)) for layer in self.layers]
        return [(zero, zero) for zero in zeros]

    def apply(self, parameters: Parameters, ids: Array, state: list[State]) -> tuple[Array, list[State]]:
        """Return logits [T, B, V] of ids [T, B], and the state after the last step."""
        y, after = parameters["embed"][ids], []
        for layer, own, before in zip(self.layers, parameters["layers"], state, strict=True):
            y, state_after = layer.apply(own, y, before)
            after.append(state_after)
        return y @ parameters["out"], after


def loss_of(model: CharacterModel, parameters: Parameters, ids: Array) -> Array:
    """Return the mean cross-entropy of the next characters of ids [T + 1, B], in nats."""
    logits, _ = model.apply(parameters, ids[:-1], model.zero_state(ids.shape[1]))
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), ids[1:, :, None], axis=2).mean()


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def train_step(model: CharacterModel, parameters: Parameters, adam: Any, ids: Array, rate: float = 2e-3) -> Any:
    """Return the loss, the parameters after a step of Adam, and its state: the number of steps and two moments."""
    loss, gradients = jax.value_and_grad(partial(loss_of, model))(parameters, ids)
    n, first, second = adam
    n = n + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)

    def updated(w: Array, m: Array, v: Array) -> Array:
        return w - rate * (m / (1 - 0.9**n)) / (jnp.sqrt(v / (1 - 0.999**n)) + 1e-8)

    return loss, jax.tree.map(updated, parameters, first, second), (n, first, second)


def train(model: CharacterModel, ids: np.ndarray, steps: int, batch_size: int, length: int) -> tuple[Parameters, float]:
    """Train on random pieces of the text; return the parameters and the seconds after the first step, which compiles."""
    rng = np.random.default_rng(0)
    parameters = model.init(jax.random.key(0))
    adam = 0, jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters)
    begin = 0.0
    for step in range(1, steps + 1):
        starts = rng.integers(len(ids) - length - 1, size=batch_size)
        pieces = np.stack([ids[i : i + length + 1] for i in starts], axis=1)  # [T + 1, B]
        loss, parameters, adam = train_step(model, parameters, adam, pieces)
        if step % max(1, steps // 5) == 0:
            print(f"step {step:4}  loss {loss:.3f} nats a character")
        if step == 1:
            begin = time.perf_counter()
    jax.block_until_ready(parameters)
    return parameters, time.perf_counter() - begin


def sample(model: CharacterModel, parameters: Parameters, characters: str, n: int) -> str:
    """Return n characters, each drawn from the model's distribution given those before it."""

    def draw(carry: Any, key: Array) -> Any:
        token, state = carry
        logits, state = model.apply(parameters, token[None, None], state)
        token = jax.random.categorical(key, logits[0, 0])
        return (token, state), token

    start = jnp.asarray(characters.index("\n")), model.zero_state(1)
    _, drawn = lax.scan(draw, start, jax.random.split(jax.random.key(1), n))
    return "".join(characters[token] for token in drawn.tolist())


def main(argv: list[str] | None = None) -> None:
    """Train with lax.scan and with fastrnn from the same seed, print the times, and sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--length", type=int, default=50)
    arguments = parser.parse_args(argv)
    text = fastrnn.corpora.load("dinosaurs")
    characters = "".join(sorted(set(text)))
    ids = np.array([characters.index(c) for c in text])
    seconds = {}
    for name, kernel in {"lax.scan": scanned, "fastrnn": fastrnn.jax.lstm}.items():
        H = arguments.hidden_size
        model = CharacterModel(len(characters), (LSTM(H, H, kernel),) * arguments.layers)
        parameters, seconds[name] = train(model, ids, arguments.steps, arguments.batch_size, arguments.length)
        print(f"{name}: {seconds[name]:.1f} s")
    print(f"fastrnn is {seconds['lax.scan'] / seconds['fastrnn']:.1f} times as fast")
    print(sample(model, parameters, characters, 200))


if __name__ == "__main__":
    main()
