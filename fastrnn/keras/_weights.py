"""Keras' weights in torch's orders.

Keras has ``kernel [I, G*H]``, ``recurrent_kernel [H, G*H]`` and ``bias [G*H]``, for a GRU with ``reset_after`` ``[2, 3*H]``:
the input's bias, then the state's. LSTM's gates are i f c o, torch's i f g o. GRU's are z r h, torch's r z n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def torch_order(kind: str, cell: Any, concat: Callable[..., Any], zeros_like: Callable[[Any], Any]) -> list[Any]:
    """Return ``[W, R]`` or ``[W, R, b_ih, b_hh]`` of a Keras cell.

    ``concat(arrays, axis)`` and ``zeros_like`` are those of the arrays' library.
    """
    H = cell.units

    def ordered(array: Any) -> Any:
        if kind != "gru":
            return array
        return concat([array[..., H : 2 * H], array[..., :H], array[..., 2 * H :]], -1)

    weights = [ordered(cell.kernel.value).T, ordered(cell.recurrent_kernel.value).T]
    if cell.bias is not None:
        bias = ordered(cell.bias.value)
        weights += [bias[0], bias[1]] if len(bias.shape) == 2 else [bias, zeros_like(bias)]
    return weights
