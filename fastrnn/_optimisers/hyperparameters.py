"""Checks of hyperparameters: each returns the value, or raises an error that names the hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .._core import checks

Checks = dict[str, Callable[[str, Any], Any]]  # of hyperparameters, by name

MOST_NS_STEPS = 100  # rounding errors hide what more of them change


def finite(name: str, value: object) -> float:
    """Return a finite number of at least 0. Raises TypeError or ValueError."""
    number = checks.number(name, value, 0.0)
    if number == math.inf:
        raise ValueError(f"{name} must be finite, got {checks.describe(value)}")
    return number


def fraction(name: str, value: object) -> float:
    """Return a number in [0, 1]. Raises TypeError or ValueError."""
    return checks.number(name, value, 0.0, 1.0)


def decay(name: str, value: object) -> float:
    """Return the decay rate of a mean, in [0, 1). Raises TypeError or ValueError."""
    rate = fraction(name, value)
    if rate == 1:
        raise ValueError(f"{name} must lie in [0, 1), got 1: no gradient would ever count")
    return rate


def ns_steps(name: str, value: object) -> int:
    """Return a number of iterations, from 1 to ``MOST_NS_STEPS``. Raises TypeError or ValueError."""
    number = checks.positive_int(name, value)
    if number > MOST_NS_STEPS:
        raise ValueError(f"{name} must be at most {MOST_NS_STEPS}, got {checks.describe(value)}")
    return number


def betas(name: str, value: Any) -> tuple[float, float]:
    """Return Adam's two decay rates. Raises TypeError or ValueError."""
    message = f"{name} must be two numbers in [0, 1), got {checks.describe(value)}"
    try:
        rates = [decay(name, beta) for beta in value]
    except (TypeError, ValueError) as error:
        raise type(error)(message) from None
    if len(rates) != 2:
        raise ValueError(message)
    return rates[0], rates[1]
