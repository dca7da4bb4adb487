"""Layer normalisation (Ba, Kiros & Hinton 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core import checks, drawing_limit
from .._core.arrays import Array
from .._core.cache import VERSION
from .._core.parameter import GradientLock, Parameter, Snapshot
from ._recurrent.inputs import array
from ._recurrent.inputs import features as check_features
from .base import Layer


class LayerNorm(Layer):
    """Layer normalisation, as torch.nn.LayerNorm (Ba et al. 2016).

    ::

        mu = mean(x)    s = 1 / sqrt(mean((x - mu)^2) + eps)    n = (x - mu) s    y = n * weight + bias

    The means are over the last axis. ``x`` and ``y`` are ``[..., features]``; weight (initially ones) and bias (zeros) are
    ``[features]``. All have the layer's dtype.

    Parameters
    ----------
    features
        The size of the last axis.
    eps
        Above 0, because the derivative at a vector of equal values, such as padding, would otherwise be infinite.
    elementwise_affine
        False: neither weight nor bias.
    bias
        False: no bias.
    dtype
        float32 or float64.

    Raises
    ------
    TypeError
        For a wrong dtype.
    ValueError
        For a wrong shape or eps.
    RuntimeError
        If backward runs after the parameters have changed.
    """

    pointwise = True

    def __init__(
        self, features: int, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True, *, dtype: Any = "float32"
    ) -> None:
        self.features = checks.positive_int("features", features)
        self.eps = checks.number("eps", eps, 0, open_low=True)
        self.elementwise_affine = checks.flag("elementwise_affine", elementwise_affine)
        self.dtype = checks.float_dtype("dtype", dtype)
        self._valid: object = None  # the version at which the parameters were validated
        has_bias = checks.flag("bias", bias) and self.elementwise_affine
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        if self.elementwise_affine:
            drawing_limit.count((self.features,))
            self.weight = Parameter("weight", np.ones(self.features, self.dtype))
        if has_bias:
            self.bias = Parameter("bias", np.zeros(self.features, self.dtype))
        self._lock = GradientLock()

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; see :meth:`Layer.config`."""
        bias = self.bias is not None or not self.elementwise_affine
        options = {"eps": self.eps, "elementwise_affine": self.elementwise_affine, "bias": bias, "dtype": self.dtype}
        return {"features": self.features, **options}

    def __call__(self, x: Array) -> Array:
        """Return the normalised x, scaled and shifted."""
        return self._scaled(self._normalized(x)[0])

    def forward(self, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Return y and a backward that maps dy to dx and adds into the parameters' gradients."""
        n, s = self._normalized(x)
        snapshot = Snapshot(tuple(self.parameters()))

        def backward(dy: Array) -> Array:
            dy = array("dy", dy, n.shape, self.dtype, "[..., features]")
            snapshot.require_unchanged()
            self._add_gradients(dy, n)
            dn = dy if self.weight is None else dy * self.weight.values
            # mu and s depend on every value, so dn's components along 1 and n do not reach x.
            dx: Array = dn - dn.mean(axis=-1, keepdims=True)
            dx -= n * np.mean(dn * n, axis=-1, keepdims=True)
            dx *= s
            return dx

        return self._scaled(n.copy()), backward

    def _normalized(self, x: Array) -> tuple[Array, Array]:
        """Return n in a new array, and s ``[..., 1]``."""
        n: Array = check_features(x, self.features, self.dtype, "features")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # infinities follow IEEE rules without warnings
            n = n - n.mean(axis=-1, keepdims=True)
            s = 1 / np.sqrt(np.mean(n * n, axis=-1, keepdims=True) + self.eps)
            n *= s
        return n, s

    def _check_parameters(self) -> None:
        """Raise TypeError or ValueError for a parameter that does not fit, because there was none when it was set."""
        version = VERSION.latest
        for name, parameter in (("weight", self.weight), ("bias", self.bias)):
            if parameter is not None:
                array(name, parameter.values, (self.features,), self.dtype, "[features]")
        self._valid = version

    def _scaled(self, n: Array) -> Array:
        """Return y, which overwrites n."""
        if self._valid is not VERSION.latest:
            self._check_parameters()
        if self.weight is not None:
            n *= self.weight.values
        if self.bias is not None:
            n += self.bias.values
        return n

    def _add_gradients(self, dy: Array, n: Array) -> None:
        rows = (-1, self.features)
        with self._lock:
            if self.weight is not None:
                self.weight.gradient()[...] += np.sum((dy * n).reshape(rows), axis=0)
            if self.bias is not None:
                self.bias.gradient()[...] += np.sum(dy.reshape(rows), axis=0)

    def extra_repr(self) -> str:
        """Return torch's form."""
        shown = f"({self.features},), eps={self.eps:g}, elementwise_affine={self.elementwise_affine}"
        return f"{shown}, bias={self.bias is not None}"
