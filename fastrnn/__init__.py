"""Fast RNN, GRU and LSTM for the CPU.

Layers take the place of ``torch.nn.RNN``, ``GRU`` and ``LSTM`` on NumPy arrays::

    lstm = fastrnn.LSTM(64, 128, num_layers=2)
    y, (h_n, c_n) = lstm(x)                       # inference
    (y, state), backward = lstm.forward(x)        # training ...
    dx, dstate = backward(dy)                     # ... adds into p.grad of every parameter

The kernels themselves are in :mod:`fastrnn.functional`; ``fastrnn train`` on the command line trains a language model.
"""

from . import functional, init, losses, optim
from .backends import BackendUnavailable, use_backend
from .layers import (
    GRU,
    LSTM,
    RNN,
    Dropout,
    Embedding,
    GRUCell,
    Layer,
    Linear,
    LSTMCell,
    OneHot,
    Parameter,
    RNNCell,
    Sequential,
    TokenDropout,
)
from .threads import announce_to_threadpoolctl, get_num_threads, set_num_threads

__version__ = "0.1.0"

announce_to_threadpoolctl()

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BackendUnavailable",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "Layer",
    "Linear",
    "OneHot",
    "Parameter",
    "RNNCell",
    "Sequential",
    "TokenDropout",
    "functional",
    "get_num_threads",
    "init",
    "losses",
    "optim",
    "set_num_threads",
    "use_backend",
]
