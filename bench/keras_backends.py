"""Time Keras' recurrent layers and fastrnn's in turn, on each Keras backend: ``python -m bench.keras_backends``.

Two models have the same weights. One has Keras' layers, the other ``fastrnn.keras``' layers. Both run on one thread. A
training step is ``train_on_batch`` with Adam. ``--cpu-time`` measures the process's time on processors, which depends less
on the load of a busy machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastrnn.commands.arguments import real
from fastrnn.commands.guard import guarded

BACKENDS = ("numpy", "torch", "jax", "tensorflow")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "FASTRNN_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
B, T, I, H = 8, 100, 64, 128  # noqa: E741 - the field's letters


def model_of(source: Any, names: tuple[str, ...]) -> Any:
    """Return a model of ``source``'s layers of these names, and a linear layer."""
    import keras

    rnn = [getattr(source, name)(H, return_sequences=name != names[-1]) for name in names]
    model = keras.Sequential([keras.Input((T, I)), *rnn, keras.layers.Dense(1)])
    model.set_weights([np.random.default_rng(i).normal(0, 0.1, w.shape) for i, w in enumerate(model.get_weights())])
    return model


def inference(model: Any, x: Any) -> Callable[[], Any]:
    """Return the model's call on x; the backend compiles it if it compiles anything."""
    import keras

    function: Any = partial(model, training=False)
    if keras.config.backend() == "jax":
        import jax

        function = jax.jit(function)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(function)
    if keras.config.backend() == "torch":
        import torch

        function = torch.no_grad()(function)
    x = keras.ops.convert_to_tensor(x)
    return lambda: keras.ops.convert_to_numpy(function(x))


def training(model: Any, x: Any) -> Callable[[], Any]:
    """Return a training step on the batch x."""
    model.compile("adam", "mse")
    return partial(model.train_on_batch, x, np.ones((B, 1), np.float32))


def measure(seconds: float, cpu_time: bool) -> None:
    """Print the rows of the backend of this process."""
    import keras

    import fastrnn.keras
    from fastrnn.benchmark.measure import Clock, Effort, alternate

    fastrnn.set_num_threads(1)
    if keras.config.backend() == "torch":
        import torch

        torch.set_num_threads(1)
    clock = Clock(now=time.process_time) if cpu_time else Clock()
    x = np.random.default_rng(0).standard_normal((B, T, I)).astype(np.float32)
    cases: list[tuple[str, Any, tuple[str, ...]]] = [("inference", inference, ("LSTM", "GRU"))]
    if keras.config.backend() != "numpy":
        cases += [("training step", training, ("LSTM",)), ("training step", training, ("GRU",))]
    for what, side, names in cases:
        sides = [side(model_of(source, names), x) for source in (keras.layers, fastrnn.keras)]
        first = [np.asarray(run()) for run in sides]
        np.testing.assert_allclose(*first, rtol=0, atol=1e-4)
        theirs, ours = (1e3 * timing.median for timing in alternate(sides, Effort(seconds, slow_rounds=7), clock))
        layers = " and ".join(names)
        print(
            f"| {what}, {layers} | {keras.config.backend()} | {theirs:.3g} | {ours:.3g} | {theirs / ours:.1f}x |", flush=True
        )


def main() -> None:
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    parser = argparse.ArgumentParser(
        prog="python -m bench.keras_backends", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", action="append", choices=installed, help="by default all that are installed")
    parser.add_argument("--seconds", type=real(0, above=True), default=1.0, help="for each side of each case (default: 1)")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.seconds, arguments.cpu_time)
        return
    from .tables import machine_line, run_program

    print(f"{machine_line()}, one thread, load {os.getloadavg()[0]:.1f}, B = {B}, T = {T}, I = {I}, H = {H}, float32\n")
    clock = "ms of processor time" if arguments.cpu_time else "ms"
    print(f"| what | Keras backend | Keras {clock} | fastrnn {clock} | ratio |\n| --- | --- | --- | --- | --- |", flush=True)
    own = ["--here", "--seconds", str(arguments.seconds), *(["--cpu-time"] if arguments.cpu_time else [])]
    for backend in arguments.backend or installed:
        environment = os.environ | ONE_THREAD | {"KERAS_BACKEND": backend}
        run_program("keras_backends", *own, env=environment)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
