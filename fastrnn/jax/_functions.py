"""The public functions: arguments are checked here, by shape and dtype, when a call is traced."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from .._core import checks
from .._core.precision import get_float32_matmul_precision
from ..backends.structs import BATCH_MAJOR, TIME_MAJOR, CellSpec, StackSpec
from . import _ffi
from ._call import Call
from ._stack import alike, run


def lstm(
    x: Array,
    h0: Array | None,
    c0: Array | None,
    W: Array,
    R: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    batch_first: bool = False,
) -> tuple[Array, Array, Array]:
    """Run an LSTM with gates i f g o over a batch of sequences.

    Parameters
    ----------
    x
        ``[T, B, I]``, or ``[B, T, I]`` with ``batch_first``, float32 or float64.
    h0, c0
        initial states ``[B, H]``; None is zeros.
    W, R, b_ih, b_hh
        ``[4*H, I]``, ``[4*H, H]``, ``[4*H]``, ``[4*H]`` in torch's gate order; both biases or neither.
    lengths
        integers ``[B]``, each 0..T; None is T for all. Past a sequence's length y and the gradient of x are zero.
    reverse
        run each sequence from its own last step to its first; y stays in the order of x.
    batch_first
        the sequences x and y are ``[B, T, ...]``.

    Returns
    -------
    y, h_n, c_n
        ``[T, B, H]``, ``[B, H]``, ``[B, H]``

    Raises
    ------
    TypeError, ValueError
        for a wrong dtype or shape, when the call is traced; lengths out of range raise when it runs
    """
    spec = _spec({"cell": "lstm"}, x, W, R)
    y, h_n, c_n = _checked_run(spec, x, [("h0", h0), ("c0", c0)], (W, R, b_ih, b_hh), lengths, reverse, batch_first)
    return y, h_n, c_n


def gru(
    x: Array,
    h0: Array | None,
    W: Array,
    R: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    reset_after: bool = True,
    lengths: Any = None,
    reverse: bool = False,
    batch_first: bool = False,
) -> tuple[Array, Array]:
    """Run a GRU with gates r z n and ``h' = (1 - z) n + z h``; returns ``y, h_n``.

    Parameters
    ----------
    x, h0, W, R, b_ih, b_hh, lengths, reverse, batch_first
        as in :func:`lstm`, with 3 gates.
    reset_after
        True: ``n = tanh(p_n + r (q_n + b_hn))``, as in torch and Keras. False: ``n = tanh(p_n + R_n (r h) + b_hn)``.
    """
    spec = _spec({"cell": "gru", "reset_after": checks.flag("reset_after", reset_after)}, x, W, R)
    y, h_n = _checked_run(spec, x, [("h0", h0)], (W, R, b_ih, b_hh), lengths, reverse, batch_first)
    return y, h_n


def rnn(
    x: Array,
    h0: Array | None,
    W: Array,
    R: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Any = None,
    reverse: bool = False,
    batch_first: bool = False,
) -> tuple[Array, Array]:
    """Run an Elman RNN, ``h' = f(W x + b_ih + R h + b_hh)``; returns ``y, h_n``.

    Parameters
    ----------
    x, h0, W, R, b_ih, b_hh, lengths, reverse, batch_first
        as in :func:`lstm`, with one gate.
    nonlinearity
        f: ``"tanh"`` or ``"relu"``.
    """
    spec = _spec({"cell": "rnn", "nonlinearity": checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))}, x, W, R)
    y, h_n = _checked_run(spec, x, [("h0", h0)], (W, R, b_ih, b_hh), lengths, reverse, batch_first)
    return y, h_n


def _spec(options: dict[str, Any], x: Any, W: Any, R: Any) -> CellSpec:
    """Derive the spec from the shapes of x, W and R. Raises TypeError or ValueError."""
    for name, array, ndim in (("x", x, 3), ("W", W, 2), ("R", R, 2)):
        if not hasattr(array, "dtype") or array.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(f"{name} must be a float32 or float64 array, got {_describe(array)}")
        if array.ndim != ndim:
            raise ValueError(f"{name} must have {ndim} dimensions, got shape {tuple(array.shape)}")
    return CellSpec(input_size=x.shape[2], hidden_size=R.shape[1], dtype=x.dtype.name, **options)


def _checked_run(
    spec: CellSpec, x: Any, states: list[tuple[str, Any]], weights: Any, lengths: Any, reverse: bool, batch_first: bool
) -> Any:
    rows = BATCH_MAJOR if checks.flag("batch_first", batch_first) else TIME_MAJOR
    B, T = x.shape[:2] if rows == BATCH_MAJOR else x.shape[1::-1]
    if T == 0:
        raise ValueError(f"x must have at least one time step, got shape {tuple(x.shape)}")
    given = dict(zip(("W", "R", "b_ih", "b_hh"), weights, strict=True))
    if (given["b_ih"] is None) != (given["b_hh"] is None):
        raise ValueError("b_ih and b_hh must both be given or both be None")
    arrays = [_check(name, given[name], shape, spec) for name, shape in spec.shapes(given["b_ih"] is not None).items()]
    state_shape = (B, spec.hidden_size)
    before = [
        jnp.zeros(state_shape, x.dtype) if state is None else _check(name, state, state_shape, spec)
        for name, state in states
    ]
    if lengths is not None:
        lengths = jnp.asarray(lengths)
        if lengths.shape != (B,) or not jnp.issubdtype(lengths.dtype, jnp.integer):
            raise ValueError(f"lengths must be integers [B] = ({B},), got {_describe(lengths)}")
    stack = StackSpec(spec, reverse=checks.flag("reverse", reverse), precision=get_float32_matmul_precision())
    call = Call(stack, rows, _ffi.usable())
    return run(call, *alike((jnp.asarray(x), tuple(before), lengths, tuple(arrays))))


def _check(name: str, array: Any, shape: tuple[int, ...], spec: CellSpec) -> Any:
    if not hasattr(array, "dtype") or array.dtype != spec.dtype:
        raise TypeError(f"{name} must be a {spec.dtype} array like x, got {_describe(array)}")
    if tuple(array.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")
    return jnp.asarray(array)


def _describe(value: Any) -> str:
    return f"{value.dtype.name}{list(value.shape)}" if hasattr(value, "dtype") else type(value).__name__
