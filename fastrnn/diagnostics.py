"""Looking into a recurrent layer: what gradient reaches each of its states, and what its gates do.

Both functions run the reference backend in float64, for whatever backend the layer has, and leave the layer alone: no
gradient is added to its parameters. They serve to see and to learn; training has its own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import checks
from .backends.reference import BACKEND, Layer, Tape, sweep_backward
from .backends.structs import CellSpec, Inputs, Weights
from .layers._recurrent.base import Recurrent

Array = NDArray[Any]

# What a step of the reference saves, in its order: see the step functions there. "" is not shown.
SAVED = {
    ("rnn", True): ("", "h"),
    ("gru", True): ("", "r", "z", "", "", "n"),
    ("gru", False): ("", "", "z", "", "", "n"),
    ("lstm", True): ("", "", "i", "f", "g", "o", "c", ""),
}


def state_gradients(recurrent: Recurrent, x: Array, dy: Array) -> list[dict[str, Array]]:
    """The gradient of a loss with respect to every state of a layer: how far back in time it reaches.

    ``x [T,B,I]``, or integer ids ``[T,B]``, is read from zero states; ``dy [T,B,Y]`` is the gradient of the loss with
    respect to the outputs (zeros where the loss does not look). For each of the L layers there is a dict with ``"h"``
    ``[T,B,Y]``, the total derivative dL/dh_t through everything that h_t has a part in, and for an LSTM ``"c"``
    ``[T,B,H]``, dL/dc_t. float64. Raises ValueError for a layer of two directions and for arrays of another shape.
    """
    tapes = [tape for tape, _ in _run(recurrent, x)]
    shape = (*np.shape(x)[:2], tapes[-1].layer.spec.output_size)
    if np.shape(dy) != shape:
        raise ValueError(f"dy must have the shape of y, {shape}, got {np.shape(dy)}")
    dy = np.asarray(dy, np.float64)
    gradients = []
    for tape in reversed(tapes):
        found, dy = _backward(tape, dy)
        gradients.append(found)
    return gradients[::-1]


def gates(recurrent: Recurrent, x: Array) -> list[dict[str, Array]]:
    """The activity of the gates and states of a layer that reads ``x [T,B,I]``, or integer ids ``[T,B]``.

    For each of the L layers a dict of arrays ``[T,B,H]`` by the names in docs/math.md: ``"h"`` (``[T,B,P]`` with a
    projection), of a GRU ``"r"`` where it resets, ``"z"`` and ``"n"``, of an LSTM ``"i"``, ``"f"``, ``"g"``, ``"o"`` and
    ``"c"``. float64. Raises ValueError for a layer of two directions.
    """
    result = []
    for tape, y in _run(recurrent, x):
        spec = tape.layer.spec
        names = SAVED[spec.cell, spec.reset_gate or spec.cell != "gru"]
        activity = {name: np.stack([saved[i] for saved in tape.saved]) for i, name in enumerate(names) if name}
        result.append({**activity, "h": y})
    return result


def _run(recurrent: Recurrent, x: Array) -> Iterator[tuple[Tape, Array]]:
    """Each layer's tape and its output ``[T,B,Y]``, all in float64."""
    if not isinstance(recurrent, Recurrent):
        raise TypeError(f"recurrent must be an RNN, GRU or LSTM, got {checks.describe(recurrent)}")
    if recurrent.bidirectional:
        raise ValueError("recurrent must have one direction: the states of two are not in one order of time")
    recurrent(x)  # checks x at the layer's door
    time_major = np.swapaxes(x, 0, 1) if recurrent.batch_first else np.asarray(x)
    x = time_major if time_major.dtype.kind in "iu" else time_major.astype(np.float64)
    for part in recurrent.stack.parts:
        layer = BACKEND.prepare_part(replace(part.spec, dtype="float64"), part.weights())
        out = BACKEND.forward_part(layer, Inputs(x), training=True)
        x = out.y
        yield out.tape, out.y


def _backward(tape: Tape, dy: Array) -> tuple[dict[str, Array], Array]:
    """The gradients of a layer's states, and dx, as the reference's loop over time passes them."""
    layer, spec = tape.layer, tape.layer.spec
    T, B = dy.shape[:2]
    dhs, dcs, dp = np.empty_like(dy), np.zeros((T, B, spec.hidden_size)), np.empty((T, B, len(layer.W)))
    unused = BACKEND.prepare_part(spec, _zeros(spec))
    for t, _, dh, dc, dp_t in sweep_backward(
        tape, dy, np.zeros_like(dcs), np.zeros_like(dy[0]), np.zeros_like(dcs[0]), unused
    ):
        dhs[t], dp[t] = dh, dp_t
        if spec.cell == "lstm":
            dcs[t] = dc + _through_output(layer, tape.saved[t], dh)
    return ({"h": dhs, "c": dcs} if spec.cell == "lstm" else {"h": dhs}), dp @ layer.W


def _through_output(layer: Layer, saved: tuple[Array, ...], dh: Array) -> Array:
    """What dL/dh_t gives to c_t within the step: steps 4 to 6 of :func:`fastrnn.backends.reference.lstm_step`."""
    *_, o, c, _ = saved
    dm = dh if layer.projection is None else dh @ layer.projection
    peephole = layer.peephole[2 * layer.spec.hidden_size :]
    return np.asarray(dm * o * (1 - np.tanh(c) ** 2) + dm * np.tanh(c) * o * (1 - o) * peephole)


def _zeros(spec: CellSpec) -> Weights:
    return Weights(**{name: np.zeros(shape) for name, shape in spec.shapes().items()})
