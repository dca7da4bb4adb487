"""Keras' recurrent layers on fastrnn's kernels, on the NumPy and PyTorch backends of Keras 3.

``accelerate()`` puts the kernels under ``keras.layers.LSTM``, ``GRU`` and ``SimpleRNN``; ``restore()`` takes them away. See
docs/keras.md.
"""

try:
    import keras as _keras  # noqa: F401
except ImportError as error:
    raise ImportError(f'fastrnn.keras needs Keras 3, pip install "fastrnn[keras]", and the backend: {error}') from error

from ._report import Report
from ._switch import accelerate, restore

__all__ = ["Report", "accelerate", "restore"]
