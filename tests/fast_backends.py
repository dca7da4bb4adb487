"""The backends other than the reference, and decorators that run a test on each of them."""

import pytest

from fastrnn import backends

FAST_BACKENDS = [name for name in backends.available() if name != "reference"]
EVERY_BACKEND = pytest.mark.parametrize("backend", FAST_BACKENDS)
# The same, but Numba's tests are slow ones.
C_QUICK = pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.slow if name == "numba" else ()) for name in FAST_BACKENDS]
)
