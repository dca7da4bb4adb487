"""NumPy, written as well as one can: whole products where possible, in-place operations, no allocation inside the loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Problem
from . import numpy_language
from .protocol import Side, Sides, as_arrays, require_threads

Array = NDArray[Any]


def sigmoid(a: Array) -> None:
    """In place: tanh is the fastest of NumPy's functions that lead there, and cannot overflow."""
    a *= np.float32(0.5)
    np.tanh(a, out=a)
    a *= np.float32(0.5)
    a += np.float32(0.5)


class NumPy:
    """NumPy over its BLAS."""

    name = "numpy"

    def __init__(self) -> None:
        self.sides: Sides = {
            "forward": self.forward,
            "product": self.product,
            "names": numpy_language.names,
            "sampling": numpy_language.sampling,
        }

    def version(self) -> str:
        """NumPy's."""
        return np.__version__

    def use_threads(self, n: int) -> None:
        """Of its BLAS; everything else runs on one."""
        import threadpoolctl

        threadpoolctl.threadpool_limits(n, user_api="blas")
        for library in threadpoolctl.threadpool_info():
            if library["user_api"] == "blas" and "numpy" in os.path.basename(os.path.dirname(library["filepath"])):
                require_threads(n, library["num_threads"], "NumPy's BLAS")

    def product(self, problem: Problem) -> Side:
        """x W^T alone."""
        x, W = problem.x.reshape(-1, problem.case.I), np.ascontiguousarray(problem.W.T)
        y = np.empty((len(x), W.shape[1]), np.float32)
        return Side(lambda: np.matmul(x, W, out=y), lambda y: as_arrays(y=y))

    def forward(self, problem: Problem) -> Side:
        """The input product for all steps at once, then the steps."""
        case = problem.case
        run = _FORWARD[case.cell](problem, np.empty((case.T, case.B, case.H), np.float32))
        return Side(run, lambda y: as_arrays(y=y))


def _rnn(problem: Problem, y: Array) -> Callable[[], Array]:
    T, B, H, x = problem.case.T, problem.case.B, problem.case.H, problem.x
    W, R, b = (np.ascontiguousarray(a.T) for a in (problem.W, problem.R, problem.b_ih + problem.b_hh))
    q = np.empty((B, H), np.float32)
    flat, p = x.reshape(T * B, -1), y.reshape(T * B, H)

    def run() -> Array:
        np.matmul(flat, W, out=p)
        np.add(p, b, out=p)
        np.tanh(y[0], out=y[0])
        for t in range(1, T):
            np.matmul(y[t - 1], R, out=q)
            np.add(y[t], q, out=q)
            np.tanh(q, out=y[t])
        return y

    return run


def _gru(problem: Problem, y: Array) -> Callable[[], Array]:
    T, B, H, x = problem.case.T, problem.case.B, problem.case.H, problem.x
    W, R = (np.ascontiguousarray(a.T) for a in (problem.W, problem.R))
    b = problem.b_ih + problem.b_hh
    b[2 * H :] = problem.b_ih[2 * H :]
    b_hn = problem.b_hh[2 * H :]
    p, q, h0 = np.empty((T, B, 3 * H), np.float32), np.empty((B, 3 * H), np.float32), np.zeros((B, H), np.float32)
    flat = x.reshape(T * B, -1)

    def run() -> Array:
        np.matmul(flat, W, out=p.reshape(T * B, -1))
        np.add(p, b, out=p)
        h = h0
        for t in range(T):
            np.matmul(h, R, out=q)
            rz, n, qn = p[t, :, : 2 * H], p[t, :, 2 * H :], q[:, 2 * H :]
            rz += q[:, : 2 * H]
            sigmoid(rz)
            qn += b_hn
            qn *= rz[:, :H]
            n += qn
            np.tanh(n, out=n)
            out = y[t]
            np.subtract(h, n, out=out)
            out *= rz[:, H:]
            out += n
            h = out
        return y

    return run


def _lstm(problem: Problem, y: Array) -> Callable[[], Array]:
    T, B, H, x = problem.case.T, problem.case.B, problem.case.H, problem.x
    W, R = (np.ascontiguousarray(a.T) for a in (problem.W, problem.R))
    b = problem.b_ih + problem.b_hh
    p, q = np.empty((T, B, 4 * H), np.float32), np.empty((B, 4 * H), np.float32)
    h0, c, tanh_c = np.zeros((B, H), np.float32), np.empty((B, H), np.float32), np.empty((B, H), np.float32)
    flat = x.reshape(T * B, -1)

    def run() -> Array:
        np.matmul(flat, W, out=p.reshape(T * B, -1))
        np.add(p, b, out=p)
        c.fill(0)
        h = h0
        for t in range(T):
            np.matmul(h, R, out=q)
            gates = p[t]
            gates += q
            i_f, g, o = gates[:, : 2 * H], gates[:, 2 * H : 3 * H], gates[:, 3 * H :]
            sigmoid(i_f)
            np.tanh(g, out=g)
            sigmoid(o)
            np.multiply(c, i_f[:, H:], out=c)
            g *= i_f[:, :H]
            np.add(c, g, out=c)
            np.tanh(c, out=tanh_c)
            h = np.multiply(o, tanh_c, out=y[t])
        return y

    return run


_FORWARD = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}

PEER = NumPy()
