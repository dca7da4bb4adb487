"""Layers without state: Linear, Embedding, OneHot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backends, init
from .._core import checks, gradient_events, memory
from .._core.arrays import Array
from .._core.cache import VERSION, Cached
from .._core.checks import ids, plain
from .._core.parameter import GradientLock, Parameter
from .._core.precision import get_float32_matmul_precision
from ..backends.base import Backend
from ._recurrent.inputs import array, features
from ._recurrent.prepared import Prepared, prepared
from ._symbolic.symbols import Symbol, apply, takes_symbols
from .base import Layer


class Linear(Layer):
    """Linear layer, torch.nn.Linear: ``y = x weight^T + bias``.

    ``x [..., in_features]``, ``y [..., out_features]`` and weight ``[out_features, in_features]`` have the layer's dtype.
    weight and bias are drawn from U(-b, b) with b = 1/sqrt(in_features). ``backend`` names the backend to use; None is the
    one in use. In precision ``"medium"`` (:func:`fastrnn.set_float32_matmul_precision`) the layer multiplies bfloat16
    numbers if both sizes are at least 32 and the processor is faster at it. Raises TypeError for a wrong dtype, ValueError
    for a wrong shape or backend.
    """

    pointwise = True
    takes_need_dx = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
        backend: str | None = None,
    ) -> None:
        self.in_features = checks.positive_int("in_features", in_features)
        self.out_features = checks.positive_int("out_features", out_features)
        self.dtype = checks.float_dtype("dtype", dtype)
        self.backend = backend
        if backend is not None:
            backends.load(backend)
        rng = init.generator(rng)
        bound = self.in_features**-0.5
        shape = (self.out_features, self.in_features)
        self.weight = Parameter("weight", init.uniform(rng, shape, bound, self.dtype))
        self.bias: Parameter | None = None
        if checks.flag("bias", bias):
            self.bias = Parameter("bias", init.uniform(rng, shape[:1], bound, self.dtype))
        self._lock = GradientLock()
        self._prepared: Cached | None = None

    @takes_symbols
    def __call__(self, x: Array) -> Array:
        """Return y; a Symbol gives a Symbol."""
        try:
            x = self._check_x(x)
        except TypeError:
            if not isinstance(x, Symbol):
                raise
            y: Array = apply(self, x)
            return y
        return self._product(self._ready(), x)

    def _check_x(self, x: Array) -> Array:
        return plain(features(x, self.in_features, self.dtype, "in_features"))

    def arrays(self) -> tuple[Array, Array | None]:
        """Return the values of weight and bias. Raises TypeError or ValueError for an invalid one that replaced None."""
        shape, bias = (self.out_features, self.in_features), self.bias
        W = array("weight", self.weight.values, shape, self.dtype, "[out_features, in_features]")
        return W, None if bias is None else array("bias", bias.values, shape[:1], self.dtype, "[out_features]")

    def _ready(self) -> Prepared:
        """Return the weights in the backend's form."""
        current = self._prepared
        if current is None or current.version is not VERSION.latest:
            parameters = (self.weight,) if self.bias is None else (self.weight, self.bias)
            self._prepared = current = prepared(current, self.backend, parameters, self._prepare)
        ready: Prepared = current.value
        return ready

    def _prepare(self, backend: Backend) -> Any:
        return backend.prepare_linear(*self.arrays(), get_float32_matmul_precision())

    def _product(self, ready: Prepared, x: Array) -> Array:
        y = ready.backend.linear_forward(ready.content, x.reshape(-1, self.in_features))
        return y.reshape(*x.shape[:-1], self.out_features)

    def forward(self, x: Array) -> tuple[Array, Callable[..., Any]]:
        """Return y and a backward that maps dy to dx (None with ``need_dx=False``) and adds into the gradients."""
        x = self._check_x(x)
        ready = self._ready()
        y = self._product(ready, x)
        y_shape = y.shape

        def backward(dy: Array, *, need_dx: bool = True) -> Array | None:
            dy = plain(array("dy", dy, y_shape, self.dtype, "[..., out_features]"))
            ready.snapshot.require_unchanged()
            rows = x.reshape(-1, self.in_features), dy.reshape(-1, self.out_features)
            with self._lock:
                db = None if self.bias is None else self.bias.gradient()
                dx = ready.backend.linear_backward(ready.content, *rows, self.weight.gradient(), db, need_dx=need_dx)
            gradient_events.completed((self.weight,) if self.bias is None else (self.weight, self.bias))
            return None if dx is None else dx.reshape(x.shape)

        return y, backward

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; see :meth:`Layer.config`."""
        sizes = {"in_features": self.in_features, "out_features": self.out_features}
        return {**sizes, "bias": self.bias is not None, "dtype": self.dtype}

    def extra_repr(self) -> str:
        """Return the options as torch shows them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Layer):
    """Embedding of token ids, torch.nn.Embedding: each id selects a row of ``weight [num_embeddings, embedding_dim]``.

    ``x`` holds integers in -1..num_embeddings-1, in any shape; ``y [*x.shape, embedding_dim]``. Id -1 gives the zero
    vector and has no gradient. weight is drawn from N(0, 1). Raises TypeError if x does not hold integers, ValueError for
    an id out of range.
    """

    pointwise = takes_ids = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self.num_embeddings = checks.positive_int("num_embeddings", num_embeddings)
        self.embedding_dim = checks.positive_int("embedding_dim", embedding_dim)
        self.dtype = checks.float_dtype("dtype", dtype)
        shape = (self.num_embeddings, self.embedding_dim)
        self.weight = Parameter("weight", init.normal(init.generator(rng), shape, self.dtype))
        self._lock = GradientLock()

    def table(self) -> Array:
        """Return the weight's values, for kernels that trust its size. Raises TypeError or ValueError if it was replaced."""
        shape = (self.num_embeddings, self.embedding_dim)
        return array("weight", self.weight.values, shape, self.dtype, "[num_embeddings, embedding_dim]")

    def rows_of_ids(self) -> tuple[int, Parameter | None] | None:
        """Return the number of ids and the weight; None for a subclass, which may compute something else."""
        return (self.num_embeddings, self.weight) if type(self) is Embedding else None

    def __call__(self, x: Array) -> Array:
        """Return the rows of the ids."""
        return self._rows(ids(x, self.num_embeddings))

    def _rows(self, x: Array) -> Array:
        y = memory.empty((*x.shape, self.embedding_dim), self.dtype)
        # The ids are valid, so mode="clip" changes nothing but speed: in the default mode NumPy gathers into a buffer first.
        np.take(self.table(), x, axis=0, out=y, mode="clip")
        y[x < 0] = 0
        return y

    def forward(self, x: Array) -> tuple[Array, Callable[[Array], None]]:
        """Return y and a backward that takes dy, adds into the gradient and returns None, because ids have no gradient."""
        x = ids(x, self.num_embeddings)
        rows = memory.empty(x.shape, x.dtype)  # a copy, because backward indexes with it and the caller may change x
        np.copyto(rows, x)

        def backward(dy: Array) -> None:
            dy = plain(array("dy", dy, (*rows.shape, self.embedding_dim), self.dtype, "[*x.shape, embedding_dim]"))
            with self._lock:
                add_rows(self.weight.gradient(), rows.reshape(-1), dy.reshape(-1, self.embedding_dim))

        return self._rows(rows), backward

    def extra_repr(self) -> str:
        """Return the options as torch shows them."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


def add_rows(total: Array, rows: Array, values: Array) -> None:
    """Add ``values[i]`` to ``total[rows[i]]`` for every i with rows[i] >= 0, always in the same order.

    Shapes are ``total [V, E]``, ``rows [n]`` and ``values [n, E]``. Sorting the rows and summing each group is 4 to 11 times
    as fast as ``np.add.at`` for n = 8192, V = 65, E = 64 or 256.
    """
    order = np.argsort(rows, kind="stable")
    order = order[np.count_nonzero(rows < 0) :]
    if not order.size:
        return
    ordered = rows[order]
    gathered = memory.empty((order.size, values.shape[1]), values.dtype)
    np.take(values, order, axis=0, out=gathered, mode="clip")
    starts = np.flatnonzero(np.diff(ordered, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], order.size], strict=True):
        total[ordered[start]] += gathered[start:stop].sum(axis=0)


class OneHot(Layer):
    """One-hot vectors of token ids: ``x`` integers in -1..num_classes-1, ``y [*x.shape, num_classes]`` of ``dtype``.

    Id -1 gives the zero vector. This layer is for inputs of other layers: recurrent layers take ids directly, which is
    faster. Raises TypeError if x does not hold integers, ValueError for an id out of range.
    """

    pointwise = takes_ids = True

    def __init__(self, num_classes: int, *, dtype: Any = "float32") -> None:
        self.num_classes = checks.positive_int("num_classes", num_classes)
        self.dtype = checks.float_dtype("dtype", dtype)

    def rows_of_ids(self) -> tuple[int, Parameter | None] | None:
        """Return the number of ids, and None for one-hot rows; see :meth:`Layer.rows_of_ids`."""
        return self.num_classes, None

    def __call__(self, x: Array) -> Array:
        """Return the one-hot vectors of the ids."""
        x = ids(x, self.num_classes)
        y = memory.zeros((x.size, self.num_classes), self.dtype)
        present = np.flatnonzero(x >= 0)
        y[present, x.reshape(-1)[present]] = 1
        return y.reshape(*x.shape, self.num_classes)

    def forward(self, x: Array) -> tuple[Array, Callable[[Array], None]]:
        """Return y and a backward that returns None, because ids have no gradient."""
        return self(x), lambda dy: None

    def extra_repr(self) -> str:
        """Return the number of classes."""
        return str(self.num_classes)
