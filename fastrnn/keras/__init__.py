"""Keras 3: its recurrent layers on fastrnn's kernels, and its models as fastrnn's.

``accelerate()`` puts the kernels under ``keras.layers.LSTM``, ``GRU`` and ``SimpleRNN``; ``restore()`` takes them away.
``LSTM``, ``GRU`` and ``SimpleRNN`` are Keras layers on the kernels. ``load`` makes a :class:`fastrnn.Model` of a ``.keras``
file, without Keras; ``save`` and ``to_keras`` make a file and a Keras model of a fastrnn model. See docs/keras.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._load import load

if TYPE_CHECKING:
    from ._export.saving import save, to_keras
    from ._layers import GRU, LSTM, SimpleRNN
    from ._report import Report
    from ._switch import accelerate, restore

__all__ = ["GRU", "LSTM", "Report", "SimpleRNN", "accelerate", "load", "restore", "save", "to_keras"]
_MODULES = {
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN"), "_layers"),
    **dict.fromkeys(("accelerate", "restore"), "_switch"),
    **dict.fromkeys(("save", "to_keras"), "_export.saving"),
    "Report": "_report",
}


def __getattr__(name: str) -> Any:
    """Import Keras on first use, because ``load`` does without it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f".{_MODULES[name]}", __package__)
    except ImportError as error:
        raise ImportError(f'fastrnn.keras needs Keras 3, pip install "fastrnn[keras]", and its backend: {error}') from error
    return getattr(module, name)
