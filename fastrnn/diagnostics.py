"""Diagnostics of a recurrent layer: the gradient that reaches each state, and the activity of its gates.

Both functions run the reference backend in float64, whatever the layer's own backend, so they are slow. They do not change
the layer: no gradient is added to its parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ._core import checks
from ._core.arrays import Array
from .backends.reference import BACKEND, Layer, Tape, sweep_backward
from .backends.structs import CellSpec, Inputs, Weights
from .layers._recurrent.base import Recurrent

# The values that a step function of the reference saves, in its order; "" is not shown.
SAVED = {
    ("rnn", True): ("", "h"),
    ("gru", True): ("", "r", "z", "", "", "n"),
    ("gru", False): ("", "", "z", "", "", "n"),
    ("lstm", True): ("", "", "i", "f", "g", "o", "c", ""),
}


def state_gradients(recurrent: Recurrent, x: Array, dy: Array) -> list[dict[str, Array]]:
    """Return the gradient of a loss L with respect to every state: it shows how far back in time the gradient reaches.

    Parameters
    ----------
    recurrent
        An RNN, GRU or LSTM with one direction.
    x
        The input ``[T,B,I]``, or integer ids ``[T,B]``; with ``batch_first``, B comes first. Initial states are zero.
    dy
        The gradient of the loss with respect to the outputs, of y's shape: zeros at outputs that the loss does not use.

    Returns
    -------
    list of dict
        For each layer, ``"h"`` is the total derivative dL/dh_t ``[T,B,Y]`` and, for an LSTM, ``"c"`` is dL/dc_t
        ``[T,B,H]``. All are float64, and T comes first also with ``batch_first``.

    Raises
    ------
    TypeError
        If ``recurrent`` is not a recurrent layer.
    ValueError
        For a bidirectional layer, or for arrays of another shape.
    """
    tapes = [tape for tape, _ in _run(recurrent, x)]
    shape = (*np.shape(x)[:2], tapes[-1].layer.spec.output_size)
    dy = checks.regular("dy", dy, f"have the shape of y, {shape}")
    if dy.shape != shape:
        raise ValueError(f"dy must have the shape of y, {shape}, got {dy.shape}")
    dy = (np.swapaxes(dy, 0, 1) if recurrent.batch_first else dy).astype(np.float64)
    gradients = []
    for tape in reversed(tapes):
        found, dy = _backward(tape, dy)
        gradients.append(found)
    return gradients[::-1]


def gates(recurrent: Recurrent, x: Array) -> list[dict[str, Array]]:
    """Return the values of all gates and states while a layer reads ``x [T,B,I]``, or integer ids ``[T,B]``.

    With ``batch_first``, x is ``[B,T,I]`` or ``[B,T]``. The result has a dict for each layer, with float64 arrays
    ``[T,B,H]`` under the names of docs/math.md: ``"h"`` (``[T,B,P]`` with a projection); for a GRU ``"z"``, ``"n"`` and,
    with a reset gate, ``"r"``; for an LSTM ``"i"``, ``"f"``, ``"g"``, ``"o"`` and ``"c"``. Raises TypeError if the
    layer is not recurrent, ValueError if it is bidirectional.
    """
    result = []
    for tape, y in _run(recurrent, x):
        spec = tape.layer.spec
        names = SAVED[spec.cell, spec.reset_gate or spec.cell != "gru"]
        activity = {name: np.stack([saved[i] for saved in tape.saved]) for i, name in enumerate(names) if name}
        result.append({**activity, "h": y})
    return result


def _run(recurrent: Recurrent, x: Array) -> Iterator[tuple[Tape, Array]]:
    """Yield each layer's tape and its output ``[T,B,Y]``, all in float64."""
    if not isinstance(recurrent, Recurrent):
        raise TypeError(f"recurrent must be an RNN, GRU or LSTM, got {checks.describe(recurrent)}")
    if recurrent.bidirectional:
        raise ValueError("recurrent must have one direction: the states of two are not in one order of time")
    recurrent(x)  # validates x
    time_major = np.swapaxes(x, 0, 1) if recurrent.batch_first else np.asarray(x)
    x = time_major if time_major.dtype.kind in "iu" else time_major.astype(np.float64)
    for part in recurrent.stack.parts:
        layer = BACKEND.prepare_part(replace(part.spec, dtype="float64"), part.weights())
        out = BACKEND.forward_part(layer, Inputs(x), training=True)
        x = out.y
        yield out.tape, out.y


def _backward(tape: Tape, dy: Array) -> tuple[dict[str, Array], Array]:
    """Return the gradients of a layer's states, collected from the reference's loop over time, and dx."""
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
    """Return the part of dL/dc_t that comes from dL/dh_t, through steps 4 to 6 of the reference's ``lstm_step``."""
    *_, o, c, _ = saved
    dm = dh if layer.projection is None else dh @ layer.projection
    peephole = layer.peephole[2 * layer.spec.hidden_size :]
    return np.asarray(dm * o * (1 - np.tanh(c) ** 2) + dm * np.tanh(c) * o * (1 - o) * peephole)


def _zeros(spec: CellSpec) -> Weights:
    return Weights(**{name: np.zeros(shape) for name, shape in spec.shapes().items()})
