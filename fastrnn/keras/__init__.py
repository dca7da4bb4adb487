"""Keras 3: its recurrent layers on fastrnn's kernels, and its models as fastrnn's.

``accelerate()`` puts the kernels under ``keras.layers.LSTM``, ``GRU`` and ``SimpleRNN`` on the NumPy and PyTorch backends;
``restore()`` takes them away. ``load`` makes a :class:`fastrnn.Model` of a ``.keras`` file, without Keras. See
docs/keras.md.
"""

from typing import TYPE_CHECKING, Any

from ._load import load

if TYPE_CHECKING:
    from ._report import Report
    from ._switch import accelerate, restore

__all__ = ["Report", "accelerate", "load", "restore"]


def __getattr__(name: str) -> Any:
    """Import Keras on first use, because ``load`` does without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import _switch
    except ImportError as error:
        raise ImportError(f'fastrnn.keras needs Keras 3, pip install "fastrnn[keras]", and its backend: {error}') from error
    return getattr(_switch, name)
