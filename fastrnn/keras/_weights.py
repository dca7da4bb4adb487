"""Keras' weights in torch's orders.

Keras has ``kernel [I, G*H]``, ``recurrent_kernel [H, G*H]`` and ``bias [G*H]``, for a GRU with ``reset_after`` ``[2, 3*H]``:
the input's bias, then the state's. LSTM's gates are i f c o, torch's i f g o. GRU's are z r h, torch's r z n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def torch_order(
    kind: str, arrays: Sequence[Any], concat: Callable[..., Any], zeros_like: Callable[[Any], Any]
) -> tuple[Any, ...]:
    """Return ``W, R`` or ``W, R, b_ih, b_hh`` of Keras' kernel, recurrent kernel and, if there is one, bias.

    ``kind`` is ``"rnn"``, ``"gru"`` or ``"lstm"``; ``concat(arrays, axis)`` and ``zeros_like`` are those of the arrays'
    library.
    """
    H = arrays[1].shape[0]

    def ordered(array: Any) -> Any:
        if kind != "gru":
            return array
        return concat([array[..., H : 2 * H], array[..., :H], array[..., 2 * H :]], -1)

    kernel, recurrent, *bias = map(ordered, arrays)
    if not bias:
        return kernel.T, recurrent.T
    biases = bias[0] if len(bias[0].shape) == 2 else (bias[0], zeros_like(bias[0]))
    return kernel.T, recurrent.T, biases[0], biases[1]


def arrays_of(cell: Any) -> list[Any]:
    """Return the arrays of a Keras cell: kernel, recurrent kernel and, if it has one, bias."""
    return [variable.value for variable in (cell.kernel, cell.recurrent_kernel, cell.bias) if variable is not None]
