"""The versions and backends of Keras whose recurrent layers can run on the kernels."""

from __future__ import annotations

import inspect
from typing import Any

import keras

LAYERS: tuple[Any, ...] = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
BACKENDS = ("numpy", "torch", "jax", "tensorflow")
OLDEST = (3, 12)
PARAMETERS = ["self", "sequences", "initial_state", "mask", "training"]


def require_support() -> None:
    """Raise RuntimeError for a version of Keras whose layers are not known here, and for another Keras backend."""
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    if not OLDEST <= version < (4,):
        raise RuntimeError(f"keras must be a version from 3.12 to 3.x, got {keras.__version__}")
    if keras.config.backend() not in BACKENDS:
        raise RuntimeError(f"the Keras backend must be one of {', '.join(BACKENDS)}, got {keras.config.backend()}")
    for layer in LAYERS:
        found = list(inspect.signature(layer.inner_loop).parameters)
        if found != PARAMETERS:
            raise RuntimeError(
                f"{layer.__name__}.inner_loop must take {PARAMETERS}, got {found} in Keras {keras.__version__}"
            )
