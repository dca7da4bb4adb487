"""Vector functions sigmoid and tanh, both computed from one exponential.

``exp(y) = 2^n (1 + p)`` with ``n = round(y / ln 2)``, the rest ``r = y - n ln 2`` in [-ln 2 / 2, ln 2 / 2], and
``p = exp(r) - 1 = r + r^2 s(r)``. The polynomial s is a Chebyshev fit to ``(exp(r) - 1 - r) / r^2``, made with mpmath,
of degree 4 for float32 and 10 for float64; its error in p / r is 2e-8 and 5e-19. Computing
with p instead of 1 + p keeps tanh accurate near zero.

NaN passes through. The largest error found over the range where exp does not saturate is 2.5 units in the last
place of the result, for both functions and both types.
"""

from __future__ import annotations

from typing import Any

from .jit import jit
from .simd import constant, maximum, minimum, polynomial, power_of_two

_s = polynomial(
    (0.5, 0.16666576989698775, 0.041666554617204574, 0.008363179052722578, 0.0013926183587713494),
    (
        0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326136, 0.0013888888888883748,
        0.00019841269874820627, 2.4801587325547743e-05, 2.7557255400206422e-06, 2.75572736431103e-07,
        2.5105217004720745e-08, 2.0914686968086876e-09,
    ),
)  # fmt: skip
_zero = constant(0)
_one = constant(1)
_two = constant(2)
_inverse_ln2 = constant(1.4426950408889634)
# ln 2 in two parts, of which the first has so few digits that its product with n is exact.
_ln2_high = constant(0.693145751953125, 0.6931471805592082)
_ln2_low = constant(1.4286068203094173e-06, 7.371002565167799e-13)
# Adding this rounds a small number to an integer. The lowest bits of the sum hold that integer plus the exponent's bias.
_rounder = constant(1.5 * 2**23 + 127, 1.5 * 2**52 + 1023)
# Between these bounds, exp and its inverse are normal numbers.
_lowest, _highest = constant(-87, -708), constant(87, 708)
# Beyond these bounds of 2 x, tanh(x) rounds to -1 or 1.
_minus_saturated, _saturated = constant(-20, -40), constant(20, 40)


@jit
def _exp(y: Any) -> Any:
    """Return 2^n and p with exp(y) = 2^n (1 + p)."""
    rounded = y * _inverse_ln2(y) + _rounder(y)
    n = rounded - _rounder(y)
    r = y - n * _ln2_high(y) - n * _ln2_low(y)
    return power_of_two(rounded), r * r * _s(r) + r


@jit
def sigmoid(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))``; below x = -87 (float32) or -708 (float64) it stays at about 1e-38 or 1e-308."""
    scale, p = _exp(minimum(_highest(x), maximum(_lowest(x), _zero(x) - x)))
    return _one(x) / (_one(x) + (scale * p + scale))


@jit
def tanh(x: Any) -> Any:
    """Return tanh(x) as ``m / (m + 2)`` with ``m = exp(2 x) - 1``."""
    scale, p = _exp(minimum(_saturated(x), maximum(_minus_saturated(x), x + x)))
    m = scale * p + (scale - _one(x))
    return m / (m + _two(x))
