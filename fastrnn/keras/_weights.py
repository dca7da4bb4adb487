"""Keras' weights in torch's orders.

Keras has ``kernel [I, G*H]``, ``recurrent_kernel [H, G*H]`` and ``bias [G*H]``, for a GRU with ``reset_after`` ``[2, 3*H]``:
the input's bias, then the state's. LSTM's gates are i f c o, torch's i f g o. GRU's are z r h, torch's r z n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._core.arrays import Array
from ..backends.structs import Weights


class Library(NamedTuple):
    """The functions ``concat(arrays, axis)``, ``zeros_like(array)`` and ``transpose(matrix)`` of a library of arrays."""

    concat: Callable[..., Any]
    zeros_like: Callable[[Any], Any]
    transpose: Callable[[Any], Any]


NUMPY = Library(np.concatenate, np.zeros_like, np.transpose)


def torch_order(kind: str, arrays: Sequence[Any], library: Library) -> tuple[Any, ...]:
    """Return ``W, R`` or ``W, R, b_ih, b_hh`` of Keras' kernel, recurrent kernel and, if there is one, bias.

    ``kind`` is ``"rnn"``, ``"gru"`` or ``"lstm"``; ``library`` is that of the arrays.
    """
    kernel, recurrent, *bias = (_reordered(kind, array, library.concat) for array in arrays)
    if not bias:
        return library.transpose(kernel), library.transpose(recurrent)
    biases = bias[0] if len(bias[0].shape) == 2 else (bias[0], library.zeros_like(bias[0]))
    return library.transpose(kernel), library.transpose(recurrent), biases[0], biases[1]


def arrays_of(cell: Any) -> list[Any]:
    """Return the arrays of a Keras cell: kernel, recurrent kernel and, if it has one, bias."""
    return [variable.value for variable in (cell.kernel, cell.recurrent_kernel, cell.bias) if variable is not None]


def keras_order(kind: str, weights: Weights, two_biases: bool) -> list[Array]:
    """Return a part's kernel, recurrent kernel and, if it has biases, bias as Keras orders them.

    Keras adds one bias where torch adds two, except in a GRU with ``reset_after``, which has ``two_biases``.
    """
    arrays = [weights.W.T, weights.R.T]
    if weights.b_ih is not None and weights.b_hh is not None:
        arrays.append(np.stack([weights.b_ih, weights.b_hh]) if two_biases else weights.b_ih + weights.b_hh)
    return [_reordered(kind, array, np.concatenate) for array in arrays]


def _reordered(kind: str, array: Any, concat: Callable[..., Any]) -> Any:
    """Return an array ``[..., G*H]`` with a GRU's gates z r h as r z n, or the other way round."""
    if kind != "gru":
        return array
    H = array.shape[-1] // 3
    return concat([array[..., H : 2 * H], array[..., :H], array[..., 2 * H :]], -1)
