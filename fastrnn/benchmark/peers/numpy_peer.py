"""The adapter of NumPy, tuned: whole products where possible, in-place operations, no allocation in the loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ..problem import Problem
from . import numpy_language
from .numpy_layers import LAYERS, lstm_cell, lstm_scale, sigmoid
from .protocol import Absent, Peer, Side, as_arrays, require_threads


class NumPy(Peer):
    """Layers in NumPy on its BLAS."""

    name = "numpy"
    library = np
    questions = ("forward", "training", "product", "step", "names", "sampling")
    names = staticmethod(numpy_language.names)
    sampling = staticmethod(numpy_language.sampling)

    def use_threads(self, n: int) -> None:
        """Set the threads of NumPy's BLAS; everything else runs on one thread."""
        try:
            import threadpoolctl
        except ImportError as error:
            raise Absent(f"without threadpoolctl its threads cannot be set: {error}") from error
        threadpoolctl.threadpool_limits(n, user_api="blas")
        for library in threadpoolctl.threadpool_info():
            if library["user_api"] == "blas" and "numpy" in os.path.basename(os.path.dirname(library["filepath"])):
                require_threads(n, library["num_threads"], "NumPy's BLAS")

    def product(self, problem: Problem) -> Side:
        """Build the product x W^T alone."""
        x, W = problem.x.reshape(-1, problem.case.I), np.ascontiguousarray(problem.W.T)
        y = np.empty((len(x), W.shape[1]), np.float32)
        return Side(lambda: np.matmul(x, W, out=y), lambda y: as_arrays(y=y))

    def forward(self, problem: Problem) -> Side:
        """Build inference: one input product for all steps, then the steps."""
        forward, _ = LAYERS[problem.case.cell](problem)
        return Side(lambda: forward(problem.x), lambda y: as_arrays(y=y))

    def training(self, problem: Problem) -> Side:
        """Build a training step: forward, backward over the steps, then gradients of weights and x as whole products."""
        case, x = problem.case, problem.x.reshape(-1, problem.case.I)
        forward, backward = LAYERS[case.cell](problem)
        h = np.zeros((case.T, case.B, case.H), np.float32)  # h_{t-1}
        dW, dR, dx = np.empty_like(problem.W), np.empty_like(problem.R), np.empty_like(x)

        def run() -> Any:
            y = forward(problem.x)
            h[1:] = y[:-1]
            dp, dq = (d.reshape(len(x), -1) for d in backward(problem.dy))
            np.matmul(dp.T, x, out=dW)
            np.matmul(dq.T, h.reshape(len(x), -1), out=dR)
            np.matmul(dp, problem.W, out=dx)
            return y, dp.sum(axis=0), dq.sum(axis=0)

        def results(out: Any) -> Any:
            y, db_ih, db_hh = out
            return as_arrays(y=y, dx=dx.reshape(problem.x.shape), dW=dW, dR=dR, db_ih=db_ih, db_hh=db_hh)

        return Side(run, results)

    def step(self, problem: Problem) -> Side:
        """Build one step that carries its state; x and h are side by side, so one product suffices."""
        H, I = problem.case.H, problem.case.I  # noqa: E741
        weights, bias = np.hstack((problem.W, problem.R)), problem.b_ih + problem.b_hh
        xh = np.zeros(I + H, np.float32)
        h = xh[I:]
        step = {"RNN": _rnn_step, "GRU": _gru_step, "LSTM": _lstm_step}[problem.case.cell](problem, weights, bias, xh, h)
        return Side(step, lambda h: as_arrays(y=h[None]))


def _rnn_step(problem: Problem, weights: Array, bias: Array, xh: Array, h: Array) -> Callable[[], Array]:
    a, x = np.empty(len(h), np.float32), problem.x[0, 0]

    def run() -> Array:
        xh[: len(x)] = x
        np.dot(weights, xh, out=a)
        np.add(a, bias, out=a)
        return np.tanh(a, out=h)

    return run


def _gru_step(problem: Problem, weights: Array, bias: Array, xh: Array, h: Array) -> Callable[[], Array]:
    H, x, W, R = len(h), problem.x[0, 0], problem.W, problem.R
    p, q = np.empty(3 * H, np.float32), np.empty(3 * H, np.float32)
    rz, r, z, n, q_rz, q_n = p[: 2 * H], p[:H], p[H : 2 * H], p[2 * H :], q[: 2 * H], q[2 * H :]

    def run() -> Array:
        np.dot(W, x, out=p)
        np.add(p, problem.b_ih, out=p)
        np.dot(R, h, out=q)
        np.add(q, problem.b_hh, out=q)
        np.add(rz, q_rz, out=rz)
        sigmoid(rz)
        np.multiply(q_n, r, out=q_n)
        np.add(n, q_n, out=n)
        np.tanh(n, out=n)
        np.subtract(h, n, out=h)
        np.multiply(h, z, out=h)
        return np.add(h, n, out=h)

    return run


def _lstm_step(problem: Problem, weights: Array, bias: Array, xh: Array, h: Array) -> Callable[[], Array]:
    H, x = len(h), problem.x[0, 0]
    weights, bias = weights * lstm_scale(H)[:, None], bias * lstm_scale(H)
    a = np.empty(4 * H, np.float32)
    cell = lstm_cell(a, np.zeros(H, np.float32), h)

    def run() -> Array:
        xh[: len(x)] = x
        np.dot(weights, xh, out=a)
        np.add(a, bias, out=a)
        return cell()

    return run


PEER = NumPy()
