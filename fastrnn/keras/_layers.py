"""Keras layers whose loop over time runs on the kernels: Keras' own classes with another ``inner_loop``."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from ._inner_loop import run_or_fall_back
from ._report import Calls
from ._support import require_support

require_support()


class _OnKernels:
    """Mixin that comes before a Keras class."""

    keras_class: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.report = Calls()
        if keras.config.backend() == "tensorflow":
            self.supports_jit = False  # XLA cannot compile the kernels' callback

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """Run the loop over time; see :mod:`fastrnn.keras._switch`."""
        original = inspect.unwrap(self.keras_class.inner_loop)  # Keras' own, also while accelerate() is in effect
        return run_or_fall_back(self, original, self.report, sequences, initial_state, mask, training)


@keras.saving.register_keras_serializable("fastrnn")
class LSTM(_OnKernels, keras.layers.LSTM):  # type: ignore[misc]
    """``keras.layers.LSTM`` on fastrnn's kernels: the same arguments, weights, masks, states and outputs.

    A call that the kernels cannot run is Keras' own. ``report`` counts the calls by what ran them, and prints as text.
    """

    keras_class = keras.layers.LSTM


@keras.saving.register_keras_serializable("fastrnn")
class GRU(_OnKernels, keras.layers.GRU):  # type: ignore[misc]
    """``keras.layers.GRU`` on fastrnn's kernels, with both values of ``reset_after``; see :class:`LSTM`."""

    keras_class = keras.layers.GRU


@keras.saving.register_keras_serializable("fastrnn")
class SimpleRNN(_OnKernels, keras.layers.SimpleRNN):  # type: ignore[misc]
    """``keras.layers.SimpleRNN`` on fastrnn's kernels, with tanh or relu; see :class:`LSTM`."""

    keras_class = keras.layers.SimpleRNN
