"""The adapter of Keras on TensorFlow."""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from ..._core.arrays import Array
from ..problem import Problem
from .protocol import Peer, Side, as_arrays, require_threads

LAYERS = {"RNN": "SimpleRNN", "GRU": "GRU", "LSTM": "LSTM"}


def _gates(cell: str, array: Array) -> Array:
    """Return ``[..., G*H]`` in Keras's order: torch's, except z r h for GRU. The function is its own inverse."""
    if cell != "GRU":
        return array
    r, z, n = np.split(array, 3, axis=-1)
    return np.concatenate((z, r, n), axis=-1)


class Keras(Peer):
    """Layers of ``keras.layers`` inside ``tf.function``; inputs are laid out batch first beforehand."""

    name = "keras"

    def version(self) -> str:
        """Return the versions of both packages."""
        return f"{keras.__version__} on tensorflow {tf.__version__}"

    def use_threads(self, n: int) -> None:
        """Set the threads, once in a process. Raises WrongThreads for another number later."""
        threading = tf.config.threading
        try:
            threading.set_intra_op_parallelism_threads(n)
            threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:  # TensorFlow has started already
            pass
        require_threads(n, threading.get_intra_op_parallelism_threads(), self.name)

    def layer(self, problem: Problem, **options: Any) -> Any:
        """Return one layer with the problem's weights."""
        case = problem.case
        layer = getattr(keras.layers, LAYERS[case.cell])(case.H, return_sequences=True, **options)
        layer.build((case.B, case.T, case.I))
        weights = [_gates(case.cell, a) for a in (problem.W.T, problem.R.T, problem.b_ih, problem.b_hh)]
        bias = np.stack(weights[2:]) if case.cell == "GRU" else weights[2] + weights[3]
        layer.set_weights([*weights[:2], bias])
        return layer

    def forward(self, problem: Problem) -> Side:
        """Build inference."""
        layer = self.layer(problem)
        x = tf.constant(problem.x.swapaxes(0, 1))
        function = tf.function(lambda x: layer(x, training=False)).get_concrete_function(x)
        return Side(lambda: function(x), lambda y: as_arrays(y=y.numpy().swapaxes(0, 1)))

    def training(self, problem: Problem) -> Side:
        """Build a training step: forward and all gradients."""
        layer = self.layer(problem)
        x, dy = (tf.constant(a.swapaxes(0, 1)) for a in (problem.x, problem.dy))

        def step(x: Any, dy: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
            return y, tape.gradient(y, [x, *layer.trainable_variables], output_gradients=dy)

        function = tf.function(step).get_concrete_function(x, dy)

        def results(out: Any) -> Any:
            y, (dx, dW, dR, _) = out
            dW, dR = (_gates(problem.case.cell, a.numpy()).T for a in (dW, dR))
            return as_arrays(y=y.numpy().swapaxes(0, 1), dx=dx.numpy().swapaxes(0, 1), dW=dW, dR=dR)

        return Side(lambda: function(x, dy), results)

    def step(self, problem: Problem) -> Side:
        """Build one step that carries its state."""
        case, layer = problem.case, self.layer(problem, return_state=True)
        x, zero = tf.constant(problem.x.swapaxes(0, 1)), tf.zeros((case.B, case.H))
        carried = [[zero, zero] if case.cell == "LSTM" else [zero]]
        function = tf.function(lambda x, *state: layer(x, initial_state=list(state), training=False))
        concrete = function.get_concrete_function(x, *carried[0])

        def run() -> Any:
            y, *carried[0] = concrete(x, *carried[0])
            return y

        return Side(run, lambda y: as_arrays(y=y.numpy()[:, 0]))


PEER = Keras()
