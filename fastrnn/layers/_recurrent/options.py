"""Keyword-only options that the constructors of recurrent layers and cells share."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np


class CellOptions(TypedDict, total=False):
    """Options of RNNCell, GRUCell and LSTMCell; see :class:`RecurrentCell`."""

    dtype: Any
    rng: np.random.Generator | int | None
    backend: str | None
    precision: str | None


class LayerOptions(CellOptions, total=False):
    """Options of RNN, GRU and LSTM; see :class:`Recurrent`."""

    merge: str
    input_dropout: float
    recurrent_dropout: float
    compression: str | None
