"""PyTorch's recurrent layers on fastrnn's kernels.

``accelerate(model)`` switches the layers of an existing model; ``RNN``, ``GRU``, ``LSTM`` and their cells take the place of
those of ``torch.nn``. See docs/pytorch.md. ``from_torch`` and ``to_torch`` convert layers and state dicts.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError('fastrnn.torch needs PyTorch: pip install "fastrnn[torch]"') from error

from .. import threads as _threads
from . import _ops  # noqa: F401 - defines the ops
from .cells import GRUCell, LSTMCell, RNNCell
from .conversion import from_torch, to_torch
from .modules import GRU, LSTM, RNN
from .switch import Report, accelerate, restore

# PyTorch's workers spin after each of its operators, on the cores that other workers would need.
_threads.use_openmp_workers()

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Report",
    "accelerate",
    "from_torch",
    "restore",
    "to_torch",
]
