"""Neural autoregressive distribution estimator: outputs of one step that depend on each other (Larochelle & Murray 2011)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import init
from .._core import checks
from .._core.arrays import Array
from ._recurrent.inputs import array
from .activation import Activation
from .base import Layer
from .dense import Linear

Backward = Callable[[Array], tuple[Array, Array, None]]


class NADE(Layer):
    """Conditional NADE: logits of D binary values of which each knows those before it (Boulanger-Lewandowski et al. 2012).

    ::

        a_d = c + sum over j < d of W_j v_j      h_d = sigmoid(a_d)      logit_d = b_d + V_d h_d
        p(v) = product over d of sigmoid(logit_d) if v_d = 1, else 1 - sigmoid(logit_d)

    The call ``logits = nade(b, c, v)`` takes biases b ``[..., D]`` and c ``[..., H]``, for example from layers that read
    earlier steps (RNN-NADE, equations 13 and 14), and the values v ``[..., D]``, each 0 or 1. Their
    ``sigmoid_binary_cross_entropy`` against v, summed over D, is -log p(v). :meth:`sample` draws v. The cost grows with the
    number of ones in v, because a_d changes only after a one.

    Parameters
    ----------
    features
        The number D of values.
    hidden
        The number H of hidden units.
    dtype, rng, backend
        As in :class:`Linear`. ``inputs.weight [H, D]`` holds the columns W_j, ``outputs.weight [D, H]`` the rows V_d.

    Raises
    ------
    TypeError
        For a wrong dtype.
    ValueError
        For a wrong shape, or a v that holds other values than 0 and 1.
    """

    pointwise = True

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
        backend: str | None = None,
    ) -> None:
        self.features = checks.positive_int("features", features)
        self.hidden = checks.positive_int("hidden", hidden)
        rng = init.generator(rng)
        self.inputs = Linear(features, hidden, bias=False, dtype=dtype, rng=rng, backend=backend)
        self.outputs = Linear(hidden, features, bias=False, dtype=dtype, rng=rng, backend=backend)
        self.sigmoid = Activation("sigmoid")
        self.dtype = self.inputs.dtype

    def __call__(self, b: Array, c: Array, v: Array) -> Array:
        """Return the logits ``[..., D]``; that of v_d depends on v_j only for j < d."""
        b, c, v = self._check(b, c, v)
        rows = _rows(v)
        a = c.reshape(-1, self.hidden)[rows.owner]
        a += self.inputs(rows.before)
        return self._picked(b, self.outputs(self.sigmoid(a)), rows)

    def forward(self, b: Array, c: Array, v: Array) -> tuple[Array, Backward]:
        """Return the logits and a backward that maps dlogits to ``db, dc, None``; v has no gradient."""
        b, c, v = self._check(b, c, v)
        rows = _rows(v)
        a, inputs_backward = self.inputs.forward(rows.before)
        a += c.reshape(-1, self.hidden)[rows.owner]
        h, sigmoid_backward = self.sigmoid.forward(a)
        z, outputs_backward = self.outputs.forward(h)

        def backward(dlogits: Array) -> tuple[Array, Array, None]:
            db = array("dlogits", dlogits, b.shape, self.dtype, "[..., features]")
            dz = np.zeros_like(z)
            dz[rows.of_value, np.arange(self.features)] = db.reshape(-1, self.features)
            da = sigmoid_backward(outputs_backward(dz))
            inputs_backward(da, need_dx=False)
            dc = np.add.reduceat(da, rows.first, axis=0) if len(da) else da
            return db, dc.reshape(c.shape), None

        return self._picked(b, z, rows), backward

    def sample(self, b: Array, c: Array, rng: np.random.Generator | int | None = None, temperature: float = 1.0) -> Array:
        """Return values v ``[..., D]`` drawn one after the other.

        Parameters
        ----------
        b, c
            As for the call.
        rng
            A numpy Generator or a seed. Each of the D values in turn draws one number for every position ``[...]``.
        temperature
            A number above 0 that divides the logits.
        """
        b, c, _ = self._check(b, c, np.zeros_like(b))
        rng, temperature = init.generator(rng), checks.number("temperature", temperature, 0.0, open_low=True)
        W, V = self.inputs.weight.values, self.outputs.weight.values
        v, a = np.zeros_like(b), c.copy()
        for d in range(self.features):
            logit = b[..., d] + self.sigmoid(a) @ V[d]
            v[..., d] = rng.random(logit.shape) < self.sigmoid(np.atleast_1d(logit / temperature)).reshape(logit.shape)
            a += v[..., d, None] * W[:, d]
        return v

    def _check(self, b: Array, c: Array, v: Array) -> tuple[Array, Array, Array]:
        axes = np.shape(b)[:-1]
        b = array("b", b, (*axes, self.features), self.dtype, "[..., features]")
        c = array("c", c, (*axes, self.hidden), self.dtype, "[..., hidden]")
        v = array("v", v, b.shape, self.dtype, "that of b")
        if not ((v == 0) | (v == 1)).all():
            raise ValueError(f"v must hold only 0 and 1, got {v[(v != 0) & (v != 1)][0]}")
        return b, c, v

    def _picked(self, b: Array, z: Array, rows: _Rows) -> Array:
        """Return b plus, for each value, z of the row that has seen the values before it."""
        return b + z[rows.of_value, np.arange(self.features)].reshape(b.shape)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"features={self.features}, hidden={self.hidden}"


class _Rows(NamedTuple):
    """Rows on which the hidden units are computed: for each of N vectors v one for no ones, and one after each of its ones.

    Attributes
    ----------
    before
        ``[R, D]``: the ones that a row has seen.
    owner
        int64 ``[R]``: the vector that a row belongs to.
    first
        int64 ``[N]``: each vector's first row.
    of_value
        int64 ``[N, D]``: the row from which each value is predicted.
    """

    before: Array
    owner: NDArray[np.int64]
    first: NDArray[np.int64]
    of_value: NDArray[np.int64]


def _rows(v: Array) -> _Rows:
    v = v.reshape(-1, v.shape[-1])
    ones = np.cumsum(v, axis=1, dtype=np.int64)
    numbers = ones[:, -1] + 1
    first = np.cumsum(numbers) - numbers
    owner = np.repeat(np.arange(len(v)), numbers)
    of_value = first[:, None] + ones - v.astype(np.int64)
    before = v[owner] * (of_value[owner] < np.arange(len(owner))[:, None])
    return _Rows(before, owner, first, of_value)
