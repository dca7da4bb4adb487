"""Language models in NumPy, tuned by hand: few calls, no allocation, one flat array of parameters."""

from __future__ import annotations

from itertools import cycle
from math import prod
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ..language import LanguageProblem
from .numpy_layers import lstm_cell, lstm_scale
from .protocol import Side, as_arrays

NAMES = (
    "recurrent.weight_ih_l0",
    "recurrent.weight_hh_l0",
    "recurrent.bias_ih_l0",
    "recurrent.bias_hh_l0",
    "output.weight",
    "output.bias",
)
LONGEST = 16


def _flat(shapes: list[tuple[int, ...]]) -> tuple[Array, list[Array]]:
    """Return one flat array and its parts as views of the given shapes."""
    flat = np.zeros(sum(prod(shape) for shape in shapes), np.float32)
    ends = np.cumsum([prod(shape) for shape in shapes])
    parts = np.split(flat, ends[:-1])
    return flat, [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def names(problem: LanguageProblem) -> Side:
    """Build a training step of an RNN on one name: forward, backward, clipping by value, SGD.

    W is stored transposed, because rows are gathered from it.
    """
    H, V, sizes = problem.case.H, problem.sizes.V, problem.sizes
    shapes = [(V + 1, H), (H, H), (H,), (V, H), (V,)]  # W^T with a row for -1, R, b, output weight and bias
    flat, (Wt, R, b, out_w, b_o) = _flat(shapes)
    dflat, (dWt, dR, db, dout_w, db_o) = _flat(shapes)
    start = [problem.state_dict[name] for name in NAMES]
    Wt[:V], R[...], b[...], out_w[...], b_o[...] = start[0].T, start[1], start[2] + start[3], start[4], start[5]
    states, dstates = (np.zeros((LONGEST + 1, H), np.float32) for _ in range(2))
    logits, slope, rows = np.empty((LONGEST, V), np.float32), np.empty((LONGEST, H), np.float32), np.arange(LONGEST)
    carried = np.empty(H, np.float32)
    texts = cycle((ids[:, 0], targets[:, 0]) for ids, targets in problem.texts)
    lr = np.float32(sizes.lr)

    def run() -> float:
        ids, targets = next(texts)
        T = len(ids)
        h, p, d = states[: T + 1], logits[:T], dstates[:T]
        np.take(Wt, ids, axis=0, out=h[1:], mode="wrap")
        h[1:] += b
        for t in range(T):  # 1. h_t = tanh(W x_t + b + R h_{t-1})
            np.dot(R, h[t], out=carried)
            h[t + 1] += carried
            np.tanh(h[t + 1], out=h[t + 1])
        np.matmul(h[1:], out_w.T, out=p)  # 2. p = softmax(out_w h + b_o)
        p += b_o
        p -= p.max(axis=1, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(axis=1, keepdims=True)
        right = p[rows[:T], targets]
        p[rows[:T], targets] -= 1
        p *= np.float32(1 / T)
        np.matmul(p.T, h[1:], out=dout_w)  # 2.
        np.sum(p, axis=0, out=db_o)
        np.matmul(p, out_w, out=d)
        np.multiply(h[1:], h[1:], out=slope[:T])
        np.subtract(1, slope[:T], out=slope[:T])
        d[T - 1] *= slope[T - 1]
        for t in range(T - 2, -1, -1):  # 1.
            np.dot(d[t + 1], R, out=carried)
            d[t] += carried
            d[t] *= slope[t]
        np.matmul(d.T, h[:-1], out=dR)
        np.sum(d, axis=0, out=db)
        dWt.fill(0)
        np.add.at(dWt, ids, d)
        dWt[V] = 0
        np.clip(dflat, -sizes.clip, sizes.clip, out=dflat)
        np.multiply(dflat, lr, out=dflat)
        np.subtract(flat, dflat, out=flat)
        return -float(np.log(right).mean())

    def results(loss: float) -> Any:
        arrays = {"loss": loss, NAMES[0]: Wt[:V].T, NAMES[1]: R, NAMES[4]: out_w, NAMES[5]: b_o}
        return {name: np.array(array) for name, array in arrays.items()}

    return Side(run, results)


def sampling(problem: LanguageProblem) -> Side:
    """Build the sampling loop of an LSTM."""
    H, T, V, state = problem.case.H, problem.case.T, problem.sizes.V, problem.state_dict
    bias, scale = state[NAMES[2]] + state[NAMES[3]], lstm_scale(H)
    table = (np.concatenate((state[NAMES[0]].T, np.zeros((1, 4 * H), np.float32))) + bias) * scale
    R, out_w, b_o = state[NAMES[1]] * scale[:, None], state[NAMES[4]], state[NAMES[5]]
    gates, c, h = (np.empty(n, np.float32) for n in (4 * H, H, H))
    cell = lstm_cell(gates, c, h)
    uniforms, logits = problem.uniforms.tolist(), np.empty(V, np.float32)

    def run() -> list[int]:
        c.fill(0)
        h.fill(0)
        token, tokens = V, []
        for t in range(T):
            np.dot(R, h, out=gates)
            np.add(gates, table[token], out=gates)
            cell()
            np.dot(out_w, h, out=logits)
            np.add(logits, b_o, out=logits)
            weights = np.exp((logits - logits.max()).astype(np.float64)).cumsum()
            token = int(weights.searchsorted(uniforms[t] * weights[-1], side="right"))
            tokens.append(token)
        return tokens

    return Side(run, lambda tokens: as_arrays(tokens=np.array(tokens)))
