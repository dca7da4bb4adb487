"""Train one model here, and run it in NumPy, PyTorch, Keras, JAX and ONNX Runtime.

The model reads bits and says at each step whether the number of ones so far is odd. Each cell below the training carries it
to another framework, and the last one prints the largest difference of the logits from fastrnn's. Frameworks that are not
installed are named and skipped. Run it as a script, or cell by cell: ``python examples/one_model_everywhere.py``.
"""

# %% Train, in a second or two
from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastrnn
from fastrnn import GRU, Embedding, Examples, Linear, Sequential

os.environ.setdefault("KERAS_BACKEND", "numpy")  # or torch, jax, tensorflow
Array = np.ndarray[Any, np.dtype[Any]]


def trained(epochs: int = 20) -> Sequential:
    """Return the trained model: ids ``[T, B]`` to logits ``[T, B, 2]``."""
    rng = np.random.default_rng(0)
    bits = [rng.integers(0, 2, rng.integers(5, 20)) for _ in range(400)]
    train, held_out = Examples(bits, [np.cumsum(row) % 2 for row in bits]).split(0.8)
    model = Sequential(Embedding(2, 8, rng=1), GRU(8, 16, rng=2), Linear(16, 2, rng=3))
    fastrnn.fit(model, train, lr=0.02, epochs=epochs, clip_norm=1.0)
    print(f"accuracy on held-out sequences: {fastrnn.evaluate(model, held_out, metrics='accuracy')['accuracy']:.3f}")
    return model


# %% NumPy: the layer's formulas, without this package
def in_numpy(model: Sequential, ids: Array) -> Array:
    """Run the formulas of docs/math.md."""
    weights = model.state_dict()
    x = weights["0.weight"][ids]
    W, R, b_ih, b_hh = (weights[f"1.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h, y = np.zeros((ids.shape[1], 16), np.float32), []
    for x_t in x:
        (p_r, p_z, p_n), (q_r, q_z, q_n) = np.split(x_t @ W.T + b_ih, 3, -1), np.split(h @ R.T + b_hh, 3, -1)
        r, z = 1 / (1 + np.exp(-p_r - q_r)), 1 / (1 + np.exp(-p_z - q_z))
        h = (1 - z) * np.tanh(p_n + r * q_n) + z * h
        y.append(h @ weights["2.weight"].T + weights["2.bias"])
    return np.stack(y)


# %% PyTorch: the state dict has PyTorch's names
def in_pytorch(model: Sequential, ids: Array) -> Array:
    """Load the weights into PyTorch's own modules."""
    import torch
    from torch import nn

    import fastrnn.torch

    modules = nn.ModuleList([nn.Embedding(2, 8), nn.GRU(8, 16), nn.Linear(16, 2)])
    modules.load_state_dict(fastrnn.torch.to_torch(model.state_dict()))
    embedding, gru, linear = modules
    with torch.no_grad():
        logits: Array = linear(gru(embedding(torch.from_numpy(ids)))[0]).numpy()
    return logits


# %% Keras: a file of Keras' own layers
def in_keras(model: Sequential, ids: Array) -> Array:
    """Save a ``.keras`` file and run what Keras loads from it; Keras has the batch first."""
    import keras

    import fastrnn.keras

    with tempfile.TemporaryDirectory() as folder:
        fastrnn.keras.save(model, Path(folder) / "model.keras")
        theirs = keras.models.load_model(Path(folder) / "model.keras")
    logits: Array = keras.ops.convert_to_numpy(theirs(ids.T)).swapaxes(0, 1)
    return logits


# %% JAX: a pure function, compiled
def in_jax(model: Sequential, ids: Array) -> Array:
    """Run the layer as a function under ``jit``."""
    import jax
    import jax.numpy as jnp

    import fastrnn.jax

    @jax.jit
    def logits_of(weights: Any, ids: Any) -> Any:
        gru = [weights[f"1.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        y, _ = fastrnn.jax.gru(weights["0.weight"][ids], None, *gru)
        return y @ weights["2.weight"].T + weights["2.bias"]

    return np.asarray(logits_of({name: jnp.asarray(array) for name, array in model.state_dict().items()}, ids))


# %% ONNX Runtime: an ONNX file
def in_onnx_runtime(model: Sequential, ids: Array) -> Array:
    """Save an ONNX file and run it."""
    import onnxruntime

    import fastrnn.onnx

    with tempfile.TemporaryDirectory() as folder:
        fastrnn.onnx.save(model, Path(folder) / "model.onnx")
        session = onnxruntime.InferenceSession(Path(folder) / "model.onnx")
    logits: Array = session.run(None, {"input": ids})[0]
    return logits


# %% All of them on the same sequences
FRAMEWORKS: dict[str, tuple[tuple[str, ...], Callable[[Sequential, Array], Array]]] = {
    "NumPy": ((), in_numpy),
    "PyTorch": (("torch",), in_pytorch),
    "Keras": (("keras", "h5py"), in_keras),
    "JAX": (("jax",), in_jax),
    "ONNX Runtime": (("onnx", "onnxruntime"), in_onnx_runtime),
}


def main(epochs: int = 20) -> dict[str, float]:
    """Print, and return, the largest difference from fastrnn's logits in each framework that is installed."""
    model = trained(epochs)
    ids = np.random.default_rng(1).integers(0, 2, (50, 8))
    expected, differences = model(ids), {}
    for name, (modules, run) in FRAMEWORKS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            print(f"{name}: skipped, {' and '.join(missing)} not installed")
            continue
        differences[name] = float(np.abs(run(model, ids) - expected).max())
        print(f"{name}: largest difference {differences[name]:.1e}")
    return differences


if __name__ == "__main__":
    main()
