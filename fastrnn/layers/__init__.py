"""Layers: recurrent ones with torch.nn's constructors, and the few others that models are built from."""

from .activation import Activation
from .base import IncompatibleKeys, Layer
from .cells import GRUCell, LSTMCell, RNNCell
from .combine import Add, Average, Concat, Multiply, Stack
from .custom import Lambda
from .dense import Embedding, Linear, OneHot
from .dropout import Dropout, VariationalDropout
from .normalization import LayerNorm
from .parameter import Parameter
from .pooling import Last, MaxPool, MeanPool
from .recurrent import GRU, LSTM, RNN
from .repeat import RepeatVector
from .reshape import Reshape
from .sequential import Sequential
from .slicing import Slice
from .stepper import Stepper
from .token_dropout import TokenDropout

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Add",
    "Average",
    "Concat",
    "Dropout",
    "Embedding",
    "GRUCell",
    "IncompatibleKeys",
    "LSTMCell",
    "Lambda",
    "Last",
    "Layer",
    "LayerNorm",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Multiply",
    "OneHot",
    "Parameter",
    "RNNCell",
    "RepeatVector",
    "Reshape",
    "Sequential",
    "Slice",
    "Stack",
    "Stepper",
    "TokenDropout",
    "VariationalDropout",
]
