"""Layers: recurrent layers with torch.nn's constructors, and the other layers that models are built from."""

from .._core.parameter import Parameter
from ._recurrent.cell_layers import GRUCell, LSTMCell, RNNCell
from ._recurrent.stepper import Stepper
from .activation import Activation
from .base import IncompatibleKeys as IncompatibleKeys
from .base import Layer
from .combine import Add, Average, Concat, Multiply, Stack
from .compression import CompressionError as CompressionError
from .compression import compression_error
from .crf import CRF
from .dense import Embedding, Linear, OneHot
from .dropout import Dropout, VariationalDropout
from .lambda_layer import Lambda
from .nade import NADE
from .normalization import LayerNorm
from .pooling import Last, MaxPool, MeanPool
from .recurrent import GRU, LSTM, RNN
from .repeat import RepeatVector
from .reshape import Reshape
from .slicing import Slice
from .token_dropout import TokenDropout

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "NADE",
    "RNN",
    "Activation",
    "Add",
    "Average",
    "Concat",
    "Dropout",
    "Embedding",
    "GRUCell",
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
    "Slice",
    "Stack",
    "Stepper",
    "TokenDropout",
    "VariationalDropout",
    "compression_error",
]
