"""Operations on all gradients of a model: norm, clipping, and checks for NaN and infinity.

``params`` is always an iterable of parameters or of (name, parameter) pairs as from ``model.named_parameters()``; with
pairs, errors use the full names. Parameters whose gradient is None are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import backends
from ._core import checks
from ._core.cache import Cached, cached
from ._core.parameter import Parameter
from .backends.base import Backend

Params = Iterable[Parameter | tuple[str, Parameter]]

SMALL_FACTOR = 2.0**-100


class NonFiniteGradient(ArithmeticError):
    """A gradient holds NaN or infinity; the message says at which step and in which parameter."""


class NonFiniteLoss(ArithmeticError):
    """A loss is NaN or infinite, though its gradients are not; the message says at which step."""


class NonFiniteWeight(ArithmeticError):
    """A parameter holds NaN or infinity after an update; the message says at which step and which one."""


def named(params: Params) -> list[tuple[str, Parameter]]:
    """Return ``params`` as a list of (name, parameter).

    Raises TypeError for anything else, ValueError for a duplicate, because it would be clipped or updated twice.
    """
    expected = "params must be an iterable of parameters or (name, parameter) pairs, as from model.parameters(), got "
    if not isinstance(params, Iterable):
        raise TypeError(expected + checks.describe(params))
    pairs: list[tuple[str, Parameter]] = []
    for i, item in enumerate(params):
        if isinstance(item, Parameter):
            pairs.append((item.name, item))
        elif isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], Parameter):
            pairs.append(item)
        else:
            raise TypeError(f"{expected}{checks.describe(item)} at index {i}")
    if len({id(param) for _, param in pairs}) != len(pairs):
        raise ValueError("params must hold each parameter once, got one of them twice")
    return pairs


def _together(params: Params) -> tuple[Backend, Any]:
    """Return the backend in use, and all gradients in its form.

    The form is cached in the first parameter, because each training step passes the same list, and making the form takes
    longer than clipping a small model's gradients.
    """
    given = list(params) if isinstance(params, Iterable) else params
    first = given[0] if isinstance(given, list) and given else None
    owner = first[1] if isinstance(first, tuple) and len(first) == 2 else first
    before: Cached | None = owner.cached_gradients if isinstance(owner, Parameter) else None

    key = backends.arrays_key()
    backend = key[0]

    def make() -> tuple[Any, Params]:
        return backend.prepare_arrays([param.grad for _, param in named(given) if param.grad is not None]), given

    same = before is not None and _same(before.value[1], given)
    current = cached(before if same else None, key, make)
    if isinstance(owner, Parameter):
        owner.cached_gradients = current
    return backend, current.value[0]


def _same(before: Params, given: Params) -> bool:
    """Return whether two lists hold the same parameters or pairs; False if a list holds an array."""
    try:
        return before == given
    except ValueError:  # comparing arrays gives no single truth value
        return False


def clip_grad_value(params: Params, value: float) -> None:
    """Clamp every element of every gradient to -value..value, in place. NaN stays NaN."""
    value = checks.number("value", value, 0.0)
    backend, gradients = _together(params)
    backend.clamp(gradients, value)


def grad_norm(params: Params) -> float:
    """Return the 2-norm of all gradients as one vector, summed in float64; not finite if any gradient is not."""
    backend, gradients = _together(params)
    return math.sqrt(backend.squares(gradients))


def clip_grad_norm(params: Params, max_norm: float, norm: float | None = None) -> float:
    """Scale all gradients in place by ``max_norm / (norm + 1e-6)`` if that is below 1; returns the norm before.

    ``norm`` is the current norm if the caller knows it, from :func:`grad_norm`. As in torch, gradients whose norm is not
    finite become NaN or zero, so call :func:`check_finite` first.
    """
    max_norm = checks.number("max_norm", max_norm, 0.0)
    backend, gradients = _together(params)
    norm = math.sqrt(backend.squares(gradients)) if norm is None else norm
    coefficient = max_norm / (norm + 1e-6)
    while 0 < coefficient < SMALL_FACTOR:  # as a float32 it could be denormal, which counts as zero
        backend.scale(gradients, SMALL_FACTOR)
        coefficient /= SMALL_FACTOR
    if not coefficient >= 1:  # a NaN norm scales too
        backend.scale(gradients, coefficient)
    return norm


def check_finite(params: Params, step: int) -> None:
    """Raise :class:`NonFiniteGradient` with the step and the first parameter whose gradient is not finite."""
    for name, param in named(params):
        if param.grad is not None and not np.isfinite(param.grad).all():
            raise NonFiniteGradient(
                f"the gradient of {name} is not finite at step {step}: "
                "a lower learning rate or gradient clipping usually helps"
            )


def check_finite_weights(params: Params, step: int) -> None:
    """Raise :class:`NonFiniteWeight` with the step and the first parameter that is not finite."""
    for name, param in named(params):
        if not np.isfinite(param.data).all():
            raise NonFiniteWeight(f"{name} is not finite after step {step}: a lower learning rate usually helps")
