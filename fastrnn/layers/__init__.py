"""Layers: recurrent ones with torch.nn's constructors, and the few others that models are built from."""

from .base import IncompatibleKeys, Layer
from .cells import GRUCell, LSTMCell, RNNCell
from .dense import Embedding, Linear, OneHot
from .dropout import Dropout
from .parameter import Parameter
from .recurrent import GRU, LSTM, RNN
from .sequential import Sequential
from .token_dropout import TokenDropout

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Dropout",
    "Embedding",
    "GRUCell",
    "IncompatibleKeys",
    "LSTMCell",
    "Layer",
    "Linear",
    "OneHot",
    "Parameter",
    "RNNCell",
    "Sequential",
    "TokenDropout",
]
