"""Layers in NumPy, tuned: whole products where possible, in-place operations, no allocation in the loop over time.

Each function builds ``(forward, backward)`` over buffers that it owns. ``forward(x)`` returns y ``[T, B, H]``. After it,
``backward(dy)`` returns dp and dq ``[T, B, G*H]``, the gradients of the input products and of the recurrent products. Every
other gradient follows from them as a whole product. W, R and the biases are the problem's, in torch's layouts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..._core.arrays import Array
from ..problem import Problem

Passes = tuple[Callable[[Array], Array], Callable[[Array], tuple[Array, Array]]]

ONE, HALF = np.float32(1), np.float32(0.5)


def sigmoid(a: Array) -> None:
    """Apply sigmoid in place, by tanh: NumPy's fastest way, which cannot overflow."""
    a *= HALF
    np.tanh(a, out=a)
    a *= HALF
    a += HALF


def lstm_scale(H: int) -> Array:
    """Return the scale ``[4*H]`` of the sums that :func:`lstm_cell` takes: 1/2 for i, f and o, 1 for g."""
    scale = np.full(4 * H, HALF)
    scale[2 * H : 3 * H] = 1
    return scale


def lstm_cell(a: Array, c: Array, h: Array) -> Callable[[], Array]:
    """Return a function that overwrites ``a [4*H]`` and the state c and h ``[H]``, and returns h.

    Because sigmoid(a) = (1 + tanh(a / 2)) / 2, with the inner half in the weights, one call of tanh serves all gates.
    """
    H, scratch = len(h), np.empty_like(h)
    scale = lstm_scale(H)
    shift = (scale == HALF) * HALF
    i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]

    def run() -> Array:
        np.tanh(a, out=a)
        np.multiply(a, scale, out=a)
        np.add(a, shift, out=a)
        np.multiply(c, f, out=c)
        np.multiply(i, g, out=scratch)
        np.add(c, scratch, out=c)
        np.tanh(c, out=scratch)
        return np.multiply(o, scratch, out=h)

    return run


def times_sigmoid_slope(d: Array, s: Array, scratch: Array) -> None:
    """Multiply d by s (1 - s) in place."""
    np.subtract(ONE, s, out=scratch)
    scratch *= s
    d *= scratch


def times_tanh_slope(d: Array, t: Array, scratch: Array) -> None:
    """Multiply d by 1 - t^2 in place."""
    np.multiply(t, t, out=scratch)
    np.subtract(ONE, scratch, out=scratch)
    d *= scratch


def _input_product(x: Array, W: Array, b: Array, out: Array) -> None:
    np.matmul(x.reshape(-1, x.shape[-1]), W, out=out.reshape(-1, out.shape[-1]))
    np.add(out, b, out=out)


def rnn(problem: Problem) -> Passes:
    """Build an RNN: h_t = tanh(p_t + R h_{t-1})."""
    T, B, H = problem.case.T, problem.case.B, problem.case.H
    W, R, b = np.ascontiguousarray(problem.W.T), np.ascontiguousarray(problem.R.T), problem.b_ih + problem.b_hh
    y, dp, q = (np.empty(shape, np.float32) for shape in ((T, B, H), (T, B, H), (B, H)))
    slopes = np.empty((T, B, H), np.float32)

    def forward(x: Array) -> Array:
        _input_product(x, W, b, y)
        np.tanh(y[0], out=y[0])
        for t in range(1, T):
            np.matmul(y[t - 1], R, out=q)
            np.add(y[t], q, out=q)
            np.tanh(q, out=y[t])
        return y

    def backward(dy: Array) -> tuple[Array, Array]:
        np.multiply(y, y, out=slopes)
        np.subtract(ONE, slopes, out=slopes)
        np.multiply(dy[-1], slopes[-1], out=dp[-1])
        for t in range(T - 2, -1, -1):
            np.matmul(dp[t + 1], problem.R, out=q)
            np.add(q, dy[t], out=q)
            np.multiply(q, slopes[t], out=dp[t])
        return dp, dp

    return forward, backward


def gru(problem: Problem) -> Passes:
    """Build a GRU: r, z = sigmoid(p + q); n = tanh(p_n + r q_n); h_t = n + z (h_{t-1} - n)."""
    T, B, H = problem.case.T, problem.case.B, problem.case.H
    W, R = np.ascontiguousarray(problem.W.T), np.ascontiguousarray(problem.R.T)
    p, q, dp, dq = (np.empty((T, B, 3 * H), np.float32) for _ in range(4))
    y, h0 = np.empty((T, B, H), np.float32), np.zeros((B, H), np.float32)
    dh, scratch = np.empty((B, H), np.float32), np.empty((B, H), np.float32)

    def forward(x: Array) -> Array:
        _input_product(x, W, problem.b_ih, p)
        h = h0
        for t in range(T):
            np.matmul(h, R, out=q[t])
            q[t] += problem.b_hh
            rz, n = p[t, :, : 2 * H], p[t, :, 2 * H :]
            rz += q[t, :, : 2 * H]
            sigmoid(rz)
            np.multiply(q[t, :, 2 * H :], rz[:, :H], out=scratch)
            n += scratch
            np.tanh(n, out=n)
            np.subtract(h, n, out=y[t])
            y[t] *= rz[:, H:]
            y[t] += n
            h = y[t]
        return y

    def backward(dy: Array) -> tuple[Array, Array]:
        dh.fill(0)
        for t in range(T - 1, -1, -1):
            h = y[t - 1] if t else h0
            r, z, n = (p[t, :, k * H : (k + 1) * H] for k in range(3))
            dr, dz, dn = (dp[t, :, k * H : (k + 1) * H] for k in range(3))
            np.add(dh, dy[t], out=dh)
            np.subtract(ONE, z, out=dn)
            dn *= dh
            times_tanh_slope(dn, n, scratch)
            np.subtract(h, n, out=dz)
            dz *= dh
            times_sigmoid_slope(dz, z, scratch)
            np.multiply(dn, q[t, :, 2 * H :], out=dr)
            times_sigmoid_slope(dr, r, scratch)
            dq[t, :, : 2 * H] = dp[t, :, : 2 * H]
            np.multiply(dn, r, out=dq[t, :, 2 * H :])
            np.multiply(dh, z, out=dh)
            np.matmul(dq[t], problem.R, out=scratch)
            np.add(dh, scratch, out=dh)
        return dp, dq

    return forward, backward


def lstm(problem: Problem) -> Passes:
    """Build an LSTM: i, f, o = sigmoid; g = tanh; c_t = f c_{t-1} + i g; h_t = o tanh(c_t)."""
    T, B, H = problem.case.T, problem.case.B, problem.case.H
    W, R, b = np.ascontiguousarray(problem.W.T), np.ascontiguousarray(problem.R.T), problem.b_ih + problem.b_hh
    p, dp, q = (np.empty(shape, np.float32) for shape in ((T, B, 4 * H), (T, B, 4 * H), (B, 4 * H)))
    y, c, tanh_c = (np.empty((T, B, H), np.float32) for _ in range(3))
    dh, dc, scratch = (np.empty((B, H), np.float32) for _ in range(3))
    zero = np.zeros((B, H), np.float32)

    def forward(x: Array) -> Array:
        _input_product(x, W, b, p)
        for t in range(T):
            np.matmul(y[t - 1] if t else zero, R, out=q)
            gates = p[t]
            gates += q
            sigmoid(gates[:, : 2 * H])
            np.tanh(gates[:, 2 * H : 3 * H], out=gates[:, 2 * H : 3 * H])
            sigmoid(gates[:, 3 * H :])
            np.multiply(c[t - 1] if t else zero, gates[:, H : 2 * H], out=c[t])
            np.multiply(gates[:, :H], gates[:, 2 * H : 3 * H], out=scratch)
            c[t] += scratch
            np.tanh(c[t], out=tanh_c[t])
            np.multiply(gates[:, 3 * H :], tanh_c[t], out=y[t])
        return y

    def backward(dy: Array) -> tuple[Array, Array]:
        dh.fill(0)
        dc.fill(0)
        for t in range(T - 1, -1, -1):
            i, f, g, o = (p[t, :, k * H : (k + 1) * H] for k in range(4))
            di, df, dg, do = (dp[t, :, k * H : (k + 1) * H] for k in range(4))
            np.add(dh, dy[t], out=dh)
            np.multiply(dh, tanh_c[t], out=do)
            times_sigmoid_slope(do, o, scratch)
            np.multiply(dh, o, out=dh)
            times_tanh_slope(dh, tanh_c[t], scratch)
            np.add(dc, dh, out=dc)
            np.multiply(dc, g, out=di)
            times_sigmoid_slope(di, i, scratch)
            np.multiply(dc, c[t - 1] if t else zero, out=df)
            times_sigmoid_slope(df, f, scratch)
            np.multiply(dc, i, out=dg)
            times_tanh_slope(dg, g, scratch)
            np.multiply(dc, f, out=dc)
            np.matmul(dp[t], problem.R, out=dh)
        return dp, dp

    return forward, backward


LAYERS = {"RNN": rnn, "GRU": gru, "LSTM": lstm}
