"""The adapter of JAX: a scan, compiled by XLA for the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..problem import Problem
from .protocol import Peer, Side, as_arrays, require_threads

sigmoid = jax.nn.sigmoid
finished: Any = jax.block_until_ready  # untyped


def _cell(name: str, R: Any, b_hh: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return the cell as a function (carry, p) -> (carry, y) of the input product p of a step; R is ``[H, G*H]``."""

    def rnn(h: Any, p: Any) -> tuple[Any, Any]:
        h = jnp.tanh(p + h @ R + b_hh)
        return h, h

    def gru(h: Any, p: Any) -> tuple[Any, Any]:
        (p_r, p_z, p_n), (q_r, q_z, q_n) = (jnp.split(a, 3, axis=1) for a in (p, h @ R + b_hh))
        z = sigmoid(p_z + q_z)
        n = jnp.tanh(p_n + sigmoid(p_r + q_r) * q_n)
        h = (1 - z) * n + z * h
        return h, h

    def lstm(carry: Any, p: Any) -> tuple[Any, Any]:
        h, c = carry
        i, f, g, o = jnp.split(p + h @ R + b_hh, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return {"RNN": rnn, "GRU": gru, "LSTM": lstm}[name]


class Jax(Peer):
    """A scan under ``jax.jit``, after the input product of all steps, with gradients by ``jax.vjp``."""

    name = "jax"
    library = jax
    threads = 0

    def use_threads(self, n: int) -> None:
        """Restrict the process to n processors, because XLA starts one thread for each.

        XLA does not report its number of threads. Raises WrongThreads if another number was set before.
        """
        if self.threads not in (0, n):
            require_threads(n, self.threads, self.name)
        processors = sorted(os.sched_getaffinity(0))
        if len(processors) > n:
            os.sched_setaffinity(0, processors[:n])
        require_threads(n, len(os.sched_getaffinity(0)), self.name)
        self.threads = n
        finished(jnp.zeros(1))

    def _parameters(self, problem: Problem) -> tuple[Any, ...]:
        return tuple(jax.device_put(np.ascontiguousarray(a)) for a in (problem.W.T, problem.R.T, problem.b_ih, problem.b_hh))

    def _layer(self, problem: Problem) -> Callable[..., Any]:
        case = problem.case

        def layer(W: Any, R: Any, b_ih: Any, b_hh: Any, x: Any) -> Any:
            zero = jnp.zeros((case.B, case.H), jnp.float32)
            start = (zero, zero) if case.cell == "LSTM" else zero
            return jax.lax.scan(_cell(case.cell, R, b_hh), start, x @ W + b_ih)[1]

        return layer

    def forward(self, problem: Problem) -> Side:
        """Build inference; the weights are arguments that are already on the device."""
        function = jax.jit(self._layer(problem)).lower(*self._parameters(problem), jnp.asarray(problem.x)).compile()
        arguments = (*self._parameters(problem), jax.device_put(problem.x))
        return Side(lambda: function(*arguments).block_until_ready(), lambda y: as_arrays(y=y))

    def training(self, problem: Problem) -> Side:
        """Build a training step: y and all gradients in one compiled function."""

        def step(parameters: Any, x: Any, dy: Any) -> Any:
            y, backward = jax.vjp(self._layer(problem), *parameters, x)
            return y, backward(dy)

        arguments = (self._parameters(problem), jax.device_put(problem.x), jax.device_put(problem.dy))
        function = jax.jit(step).lower(*arguments).compile()

        def results(out: Any) -> Any:
            y, (dW, dR, db_ih, db_hh, dx) = out
            return as_arrays(y=y, dx=dx, dW=dW.T, dR=dR.T, db_ih=db_ih, db_hh=db_hh)

        return Side(lambda: finished(function(*arguments)), results)

    def step(self, problem: Problem) -> Side:
        """Build one step; the state stays on the device."""
        case = problem.case
        W, R, b_ih, b_hh = self._parameters(problem)
        x, zero = jax.device_put(problem.x[0]), jnp.zeros((case.B, case.H), jnp.float32)
        carried = [(zero, zero) if case.cell == "LSTM" else zero]

        def one(W: Any, R: Any, b_ih: Any, b_hh: Any, carry: Any, x: Any) -> Any:
            return _cell(case.cell, R, b_hh)(carry, x @ W + b_ih)

        function = jax.jit(one).lower(W, R, b_ih, b_hh, carried[0], x).compile()

        def run() -> Any:
            carried[0], y = function(W, R, b_ih, b_hh, carried[0], x)
            return y.block_until_ready()

        return Side(run, lambda y: as_arrays(y=y))


PEER = Jax()
