"""Reference backend: the three cells in plain NumPy, written to show the equations, not for speed.

Tests compare the other backends with this one, and this one with finite differences and PyTorch. It computes in float64 for
any dtype and rounds once, at the end. Infinities and NaNs cause no warnings, as in the kernels.

Each cell has a forward and a backward function of one time step, which receive only the sequences that are active at that
step. Only :class:`Order` handles lengths and direction. ``p = x W^T + b_ih`` and ``q = h R^T + b_hh`` are the two parts of
the pre-activations. ``h`` and ``c`` are the states before the step, ``h_new`` and ``c_new`` those after it. The numbers in a
backward function's comments refer to the forward function's equations. The derivations are in docs/math.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._core.arrays import Array
from .base import Backend
from .precision import highest_only
from .structs import CellSpec, Gradients, Inputs, OutputGradients, Outputs, Plan, StackSpec, Weights


@dataclass(frozen=True, slots=True)
class Layer:
    """Prepared layer: the parameters, or their gradients, in float64, with zeros for absent biases and peepholes.

    ``W [G*H,I]``, ``R [G*H,Y]``, ``b_ih [G*H]``, ``b_hh [G*H]``, ``peephole [3*H]``, ``projection [P,H]`` or None.
    """

    spec: CellSpec
    W: Array
    R: Array
    b_ih: Array
    b_hh: Array
    peephole: Array
    projection: Array | None


class Step(NamedTuple):
    """States after a step, ``h [B,Y]`` and ``c [B,H]``, and the values saved for its backward. RNN and GRU pass c on."""

    h: Array
    c: Array
    saved: tuple[Array, ...]


class StepGrads(NamedTuple):
    """Gradients of ``p [B,G*H]`` and of the states before the step, ``h [B,Y]`` and ``c [B,H]``."""

    dp: Array
    dh: Array
    dc: Array


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))`` without overflow in exp."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, e) / (1 + e))


def rnn_step(w: Layer, p: Array, h: Array, c: Array) -> Step:
    """Compute a step of the RNN of Elman 1990.

    1. q = h R^T + b_hh
    2. h_new = f(p + q), f tanh or relu
    """
    a = p + h @ w.R.T + w.b_hh  # 1
    h_new = np.tanh(a) if w.spec.nonlinearity == "tanh" else np.maximum(a, 0)  # 2
    return Step(h_new, c, (h, h_new))


def rnn_step_backward(w: Layer, saved: tuple[Array, ...], dh_new: Array, dc_new: Array, grads: Layer) -> StepGrads:
    """Compute the backward of :func:`rnn_step`; add the parameters' gradients into ``grads``."""
    h, h_new = saved
    dp = dh_new * (1 - h_new**2 if w.spec.nonlinearity == "tanh" else h_new > 0)  # 2
    dh = _product_backward(w, dp, h, grads)  # 1, with dq = dp
    return StepGrads(dp, dh, dc_new)


def gru_step(w: Layer, p: Array, h: Array, c: Array) -> Step:
    """Compute a step of the GRU of Cho et al. 2014. Without a reset gate there is no r, and u = h, v = q_n.

    1. r = sigmoid(p_r + q_r), z = sigmoid(p_z + q_z)
    2. u = h if reset_after else r h
    3. q_n = u R_n^T + b_hn
    4. v = r q_n if reset_after else q_n
    5. n = tanh(p_n + v)
    6. h_new = (1 - z) n + z h
    """
    gates, new = _gru_rows(w.spec)
    rz = sigmoid(p[:, gates] + h @ w.R[gates].T + w.b_hh[gates])  # 1
    r, z = np.split(rz, [-w.spec.hidden_size], axis=1)
    u = r * h if w.spec.reset_gate and not w.spec.reset_after else h  # 2
    q_n = u @ w.R[new].T + w.b_hh[new]  # 3
    v = r * q_n if w.spec.reset_gate and w.spec.reset_after else q_n  # 4
    n = np.tanh(p[:, new] + v)  # 5
    return Step((1 - z) * n + z * h, c, (h, r, z, u, q_n, n))  # 6


def gru_step_backward(w: Layer, saved: tuple[Array, ...], dh_new: Array, dc_new: Array, grads: Layer) -> StepGrads:
    """Compute the backward of :func:`gru_step`; add the parameters' gradients into ``grads``."""
    gates, new = _gru_rows(w.spec)
    h, r, z, u, q_n, n = saved
    dn, dz, dh = dh_new * (1 - z), dh_new * (h - n), dh_new * z  # 6
    dp_n = dv = dn * (1 - n**2)  # 5
    dr, dq_n = np.zeros_like(r), dv
    if w.spec.reset_gate and w.spec.reset_after:  # 4
        dr, dq_n = dv * q_n, dv * r
    du = _product_backward(w, dq_n, u, grads, new)  # 3
    if w.spec.reset_gate and not w.spec.reset_after:  # 2
        dr, du = du * h, du * r
    dh += du
    dp_rz = np.hstack([dr * r * (1 - r), dz * z * (1 - z)])  # 1
    dh += _product_backward(w, dp_rz, h, grads, gates)
    return StepGrads(np.hstack([dp_rz, dp_n]), dh, dc_new)


def lstm_step(w: Layer, p: Array, h: Array, c: Array) -> Step:
    """Compute a step of the LSTM of Gers et al. 2000.

    The peephole is that of Gers et al. 2002, the projection that of Sak et al. 2014. Without a peephole, w_i, w_f and w_o
    are zero; without a projection, h_new = m.

    1. q = h R^T + b_hh
    2. i = sigmoid(p_i + q_i + w_i c), f = sigmoid(p_f + q_f + w_f c), g = tanh(p_g + q_g)
    3. c_new = f c + i g
    4. o = sigmoid(p_o + q_o + w_o c_new)
    5. m = o tanh(c_new)
    6. h_new = m projection^T
    """
    w_i, w_f, w_o = np.split(w.peephole, 3)
    a_i, a_f, a_g, a_o = np.split(p + h @ w.R.T + w.b_hh, 4, axis=1)  # 1
    i, f, g = sigmoid(a_i + w_i * c), sigmoid(a_f + w_f * c), np.tanh(a_g)  # 2
    c_new = f * c + i * g  # 3
    o = sigmoid(a_o + w_o * c_new)  # 4
    m = o * np.tanh(c_new)  # 5
    h_new = m if w.projection is None else m @ w.projection.T  # 6
    return Step(h_new, c_new, (h, c, i, f, g, o, c_new, m))


def lstm_step_backward(w: Layer, saved: tuple[Array, ...], dh_new: Array, dc_new: Array, grads: Layer) -> StepGrads:
    """Compute the backward of :func:`lstm_step`; add the parameters' gradients into ``grads``."""
    w_i, w_f, w_o = np.split(w.peephole, 3)
    h, c, i, f, g, o, c_new, m = saved
    dm = dh_new
    if w.projection is not None and grads.projection is not None:  # 6
        dm = dh_new @ w.projection
        grads.projection[:] += dh_new.T @ m
    tanh_c = np.tanh(c_new)
    do, dc_new = dm * tanh_c, dc_new + dm * o * (1 - tanh_c**2)  # 5
    da_o = do * o * (1 - o)  # 4
    dc_new = dc_new + da_o * w_o
    di, df, dg, dc = dc_new * g, dc_new * c, dc_new * i, dc_new * f  # 3
    da_i, da_f, da_g = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2)  # 2
    dc += da_i * w_i + da_f * w_f
    grads.peephole[:] += np.hstack([(da_i * c).sum(0), (da_f * c).sum(0), (da_o * c_new).sum(0)])  # 4 and 2
    dp = np.hstack([da_i, da_f, da_g, da_o])
    dh = _product_backward(w, dp, h, grads)  # 1, with dq = dp
    return StepGrads(dp, dh, dc)


STEPS: dict[str, tuple[Callable[..., Step], Callable[..., StepGrads]]] = {
    "rnn": (rnn_step, rnn_step_backward),
    "gru": (gru_step, gru_step_backward),
    "lstm": (lstm_step, lstm_step_backward),
}


def _gru_rows(spec: CellSpec) -> tuple[slice, slice]:
    """Return the rows of a GRU's gates (r z, or z alone) and those of its candidate n."""
    split = (spec.gates - 1) * spec.hidden_size
    return slice(0, split), slice(split, None)


def _product_backward(w: Layer, dq: Array, u: Array, grads: Layer, rows: slice = slice(None)) -> Array:
    """Compute the backward of ``q = u R^T + b_hh`` for some rows of R: add dR and db_hh into ``grads``, return du."""
    grads.R[rows] += dq.T @ u
    grads.b_hh[rows] += dq.sum(0)
    return np.asarray(dq @ w.R[rows])


def _input_product(w: Layer, x: Array) -> Array:
    """Return ``p = x W^T + b_ih`` for all steps; a token id selects its row of W^T, and -1 a row of zeros."""
    if x.ndim == 3:
        return np.asarray(x @ w.W.T + w.b_ih)
    rows = np.vstack([w.W.T, np.zeros(len(w.W))])
    return np.asarray(rows[x] + w.b_ih)


def _input_product_backward(dp: Array, x: Array, grads: Layer) -> None:
    """Add dW and db_ih into ``grads``; a token's row receives the sum over all positions of the token."""
    grads.b_ih[:] += dp.sum((0, 1))
    if x.ndim == 3:
        grads.W[:] += np.tensordot(dp, x, axes=([0, 1], [0, 1]))
    else:
        drows = np.zeros((grads.W.shape[1] + 1, grads.W.shape[0]))
        np.add.at(drows, x, dp)
        grads.W[:] += drows[:-1].T


class Order:
    """Order in which the steps process the times of each sequence.

    Step s of sequence b processes time ``time[s, b]``: s, or ``lengths[b] - 1 - s`` in reverse. Steps at or past the length
    do not run: there ``active[s, b]`` is False and ``time[s, b] = s``. So each column of ``time`` is a permutation that is
    its own inverse, and the same call converts an array from time order to step order and back.
    """

    def __init__(self, T: int, B: int, lengths: Array | None, reverse: bool) -> None:
        step = np.arange(T)[:, None]
        lengths = np.full(B, T) if lengths is None else lengths
        self.active = step < lengths
        self.time = np.where(self.active & reverse, lengths - 1 - step, step)
        self.rows = [np.flatnonzero(running) for running in self.active]

    def __call__(self, array: Array) -> Array:
        """Return a copy of ``array [T,B,...]`` in the other order, with zeros past the lengths."""
        ordered = array[self.time, np.arange(array.shape[1])]
        ordered[~self.active] = 0
        return np.asarray(ordered)


@dataclass(frozen=True, slots=True)
class Tape:
    """Data that forward saves for backward: ``x`` in step order, and each step's saved values."""

    layer: Layer
    order: Order
    x: Array
    saved: list[tuple[Array, ...]]


def sweep_backward(
    tape: Tape, dhs: Array, dcs: Array, dh: Array, dc: Array, grads: Layer
) -> Iterator[tuple[int, Array, Array, Array, Array]]:
    """Run backward over time, last step first, and yield ``s, rows, dh_new, dc_new, dp`` of each step.

    For the active sequences ``rows``, ``dh_new`` and ``dc_new`` are the total gradients of the states after step s, and
    ``dp`` is the gradient of p.

    Parameters
    ----------
    tape
        The tape of the forward pass.
    dhs, dcs
        Gradients of the states from above, ``[T,B,Y]`` and ``[T,B,H]`` in step order.
    dh, dc
        Gradients of the final states, ``[B,Y]`` and ``[B,H]``; overwritten by those of the initial states.
    grads
        Receives the parameters' gradients, except those of W and b_ih.
    """
    _, step_backward = STEPS[tape.layer.spec.cell]
    for s, rows in reversed(list(enumerate(tape.order.rows))):
        dh_new, dc_new = dh[rows] + dhs[s, rows], dc[rows] + dcs[s, rows]
        dp, dh[rows], dc[rows] = step_backward(tape.layer, tape.saved[s], dh_new, dc_new, grads)
        yield s, rows, dh_new, dc_new, dp


def _float64(array: Array | None, shape: tuple[int, ...]) -> Array:
    """Return a float64 copy, or zeros for None."""
    return np.zeros(shape) if array is None else array.astype(np.float64)


class Reference(Backend):
    """Reference backend; see :class:`fastrnn.backends.base.Backend`."""

    name = "reference"

    def prepare_part(self, spec: CellSpec, weights: Weights) -> Layer:
        """Return a float64 copy of the parameters."""
        rows = spec.gates * spec.hidden_size
        projection = weights.projection
        return Layer(
            spec,
            W=weights.W.astype(np.float64),
            R=weights.R.astype(np.float64),
            b_ih=_float64(weights.b_ih, (rows,)),
            b_hh=_float64(weights.b_hh, (rows,)),
            peephole=_float64(weights.peephole, (3 * spec.hidden_size,)),
            projection=None if projection is None else projection.astype(np.float64),
        )

    @np.errstate(all="ignore")
    def forward_part(  # type: ignore[override]
        self, prepared: Layer, inputs: Inputs, *, reverse: bool = False, training: bool = False, cell_states: bool = False
    ) -> Outputs:
        """Run over time; see the base class for the shapes."""
        x, h0, c0, lengths, _ = inputs
        spec, (T, B) = prepared.spec, x.shape[:2]
        step_forward, _ = STEPS[spec.cell]
        order = Order(T, B, lengths, reverse)
        x = order(x)
        p = _input_product(prepared, x)
        h, c = _float64(h0, (B, spec.output_size)), _float64(c0, (B, spec.hidden_size))
        hs, cs = np.zeros((T, *h.shape)), np.zeros((T, *c.shape))
        saved = []
        for s, rows in enumerate(order.rows):
            step = step_forward(prepared, p[s, rows], h[rows], c[rows])
            hs[s, rows] = h[rows] = step.h
            cs[s, rows] = c[rows] = step.c
            if training:
                saved.append(step.saved)
        out = Outputs(order(hs).astype(spec.dtype), h.astype(spec.dtype))
        if spec.cell == "lstm":
            out.c_n = c.astype(spec.dtype)
            out.c = order(cs).astype(spec.dtype) if cell_states else None
        out.tape = Tape(prepared, order, x, saved) if training else None
        return out

    @np.errstate(all="ignore")
    def backward_part(  # type: ignore[override]
        self, tape: Tape, dout: OutputGradients, gradients: Weights, *, need_dx: bool = True
    ) -> Gradients:
        """Return gradients of a scalar loss and add the parameters' into ``gradients``; for shapes see the base class."""
        dy, dh_n, dc_n, dc = dout
        layer, order, spec = tape.layer, tape.order, tape.layer.spec
        (T, B), H, Y = order.active.shape, spec.hidden_size, spec.output_size
        dhs, dcs = order(_float64(dy, (T, B, Y))), order(_float64(dc, (T, B, H)))
        dh, dc_carry = _float64(dh_n, (B, Y)), _float64(dc_n, (B, H))
        dp, own = np.zeros((T, B, spec.gates * H)), self.prepare_part(spec, gradients.zeros_like())
        for s, rows, _, _, dp_s in sweep_backward(tape, dhs, dcs, dh, dc_carry, own):
            dp[s, rows] = dp_s
        _input_product_backward(dp, tape.x, own)
        for name, array in gradients.items():
            array += getattr(own, name)
        dx = order(dp @ layer.W).astype(spec.dtype) if need_dx and tape.x.ndim == 3 else None
        dc0 = dc_carry.astype(spec.dtype) if spec.cell == "lstm" else None
        return Gradients(dx, dh.astype(spec.dtype), dc0)

    def plan(self, spec: StackSpec, T: int, B: int) -> list[Plan]:
        """Return a plan that names NumPy, which manages its own threads."""
        return [Plan("reference", "numpy", "none", 1, 1, *highest_only(spec, "reference"))] * spec.parts


BACKEND = Reference()
