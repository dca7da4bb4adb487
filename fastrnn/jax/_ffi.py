"""Calls of the kernels inside XLA's compiled programs, through its foreign function interface.

XLA runs the handlers of ``csrc/xla.c`` on its own threads and memory, without Python. If they cannot run, ``_callback.py``
takes their place.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from .. import backends
from .._core.checks import SettingError
from ._call import Call, like

FORWARD, BACKWARD = "fastrnn_xla_forward", "fastrnn_xla_backward"


def register() -> None:
    """Register the handlers of the backend in use, if it has any; the first call reports settings that are wrong."""
    with suppress(SettingError, backends.BackendUnavailable):
        _unregistered(backends.current(None).name)


def usable() -> bool:
    """Return whether calls that are traced now can use the handlers. If not, warn once for each reason."""
    reason = _refusal(backends.current(None).name, jax.default_backend())
    if reason:
        _warn(reason)
    return not reason


def _refusal(backend: str, platform: str) -> str:
    """Return why the handlers cannot run, or nothing."""
    return _unregistered(backend) if platform == "cpu" else f"JAX runs on {platform}"


@cache
def _unregistered(backend: str) -> str:
    """Register the handlers of a backend; return why that is not possible, or nothing."""
    handlers = backends.load(backend).xla_handlers()
    if not handlers:
        return f"backend {backend!r} has no handlers for XLA"
    try:
        for name, address in handlers.items():
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(address), platform="cpu")
    except Exception as error:  # a later XLA may refuse this version of the interface
        return f"XLA refused the handlers ({error})"
    return ""


@cache
def _warn(reason: str) -> None:
    warnings.warn(f"fastrnn.jax calls Python from XLA's programs, which is slower, because {reason}", stacklevel=5)


def forward(call: Call, training: bool, x: Any, states: Any, lengths: Any, weights: Any) -> Any:
    """Return ``y, h_n[, c_n]``, and in training the tape."""
    run = jax.ffi.ffi_call(FORWARD, call.outputs(x, training))
    return tuple(run(x, *weights, *states, *_lengths(lengths), numbers=_numbers(call, weights, lengths)))


def backward(
    call: Call, need_dx: bool, x: Any, states: Any, lengths: Any, weights: Any, tape: Any, gradients: Any
) -> tuple[Any, ...]:
    """Return ``dx, dstates, dweights``; dx is None unless ``need_dx``."""
    before = x, *weights, *_lengths(lengths)
    outputs = like([tape, *[x] * need_dx, *states, *weights])
    # Backward runs in the tape's memory; XLA passes a copy of a tape that is needed again.
    run = jax.ffi.ffi_call(BACKWARD, outputs, input_output_aliases={len(before): 0})
    _, *found = run(*before, tape, *gradients, numbers=_numbers(call, weights, lengths, need_dx))
    dx = found.pop(0) if need_dx else None
    return dx, tuple(found[: len(states)]), tuple(found[len(states) :])


def _numbers(call: Call, weights: Any, lengths: Any, need_dx: bool = False) -> Any:
    has_bias = len(weights) > 2
    return backends.current(None).xla_numbers(call.stack, call.rows, has_bias, lengths is not None, need_dx)


def _lengths(lengths: Any) -> tuple[Any, ...]:
    """Return the lengths, if any, in one of the two types that the handlers read."""
    if lengths is None:
        return ()
    return (lengths.astype(jnp.int64 if lengths.dtype.itemsize == 8 else jnp.int32),)
