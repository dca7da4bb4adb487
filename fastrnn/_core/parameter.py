"""A trainable array, its gradient, and a count of its changes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .cache import ARRAYS, VERSION

Array = NDArray[Any]


class Parameter:
    """A trainable array.

    Its values change only through :meth:`assign` (or ``p.data = value``) and :meth:`writable`, both of which raise
    ``version``: layers keep packed copies of their weights and make them anew when a version has moved. NumPy takes a
    parameter as an array: ``np.asarray(p)`` is ``p.data``, a read-only view, and ``np.array(p)`` a copy.

    Attributes: ``name``, local to the layer, such as ``"weight_ih_l0"``; ``grad``, an array of the same shape and
    dtype, or None until the first backward pass, which adds into it; ``version``, an integer.
    """

    __slots__ = ("_array", "_grad", "cached_gradients", "name", "version")

    def __init__(self, name: str, array: Array) -> None:
        """Take ``array`` (any shape, float32 or float64) as it is if contiguous: the caller must not keep it."""
        checks.float_dtype(f"{name}'s dtype", array.dtype)
        self.name = name
        self._array = np.require(array, requirements=["C", "W"])
        self._grad: Array | None = None
        self.version = 0
        self.cached_gradients: Any = None  # fastrnn.gradients keeps here the list that begins with this parameter

    @property
    def values(self) -> Array:
        """The array itself, for kernels that read it and do not hand it on. Whoever changes it asks :meth:`writable`."""
        return self._array

    @property
    def data(self) -> Array:
        """The values, as a read-only view."""
        view = self._array.view()
        view.flags.writeable = False
        return view

    @data.setter
    def data(self, value: Array | Parameter) -> None:
        self.assign(value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the values to NumPy, read-only unless they are a copy. Raises ValueError for a copy that is forbidden."""
        return np.array(self.data, dtype, copy=copy)

    def assign(self, value: Array | Parameter) -> None:
        """Copy ``value``, of the same shape and dtype, into the parameter. Raises TypeError or ValueError."""
        if isinstance(value, Parameter):
            value = value._array
        self._array[...] = checks.array(self.name, value, self.shape, self.dtype.name)
        self.changed((self,))  # afterwards: who packs weights meanwhile must not keep what was half written

    def writable(self) -> Array:
        """The array itself, to be changed in place at once. Ask again before every change: asking is what counts it."""
        self.version += 1
        VERSION.increment()
        return self._array

    @staticmethod
    def changed(parameters: Iterable[Parameter]) -> None:
        """As if every one's :meth:`writable` had been asked for."""
        for parameter in parameters:
            parameter.version += 1
        VERSION.increment()

    @property
    def grad(self) -> Array | None:
        """The gradient, or None. What is set is kept, not copied; raises TypeError or ValueError if it does not fit."""
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if value is not None:
            fitting = checks.array(f"{self.name}'s grad", value, self.shape, self.dtype.name)
            if fitting is not value or not value.flags.writeable:
                raise ValueError(f"{self.name}'s grad must be a writeable, C-contiguous array: kernels add into it")
        self._grad = value
        ARRAYS.increment()

    def gradient(self) -> Array:
        """The array that backward passes add into: ``grad``, made of zeros if there is none yet."""
        if self._grad is None:
            self._grad = np.zeros_like(self._array)
            ARRAYS.increment()
        return self._grad

    def zero_grad(self) -> None:
        """Fill the gradient with zeros and keep its memory."""
        if self.grad is not None:
            self.grad.fill(0)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return self._array.dtype

    @property
    def size(self) -> int:
        """The number of values."""
        return self._array.size

    def __repr__(self) -> str:
        """The name, shape and dtype: the values are in ``data``."""
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.dtype})"


class GradientLock:
    """Lets one backward pass at a time add into a layer's gradients. A copy of a layer gets a lock of its own."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[GradientLock], tuple[()]]:
        return GradientLock, ()


class Snapshot:
    """Parameters and their versions at one time, to tell later whether they have changed.

    ``version`` is that of everything (:mod:`fastrnn._core.cache`), at which they are known not to have.
    """

    __slots__ = ("_parameters", "_versions", "version")

    def __init__(self, parameters: tuple[Parameter, ...]) -> None:
        self.version = VERSION.latest  # before the parameters' own are
        self._parameters = parameters
        self._versions = tuple([p.version for p in parameters])

    def __eq__(self, other: object) -> bool:
        """Whether these are the same parameters with the same values."""
        same = isinstance(other, Snapshot) and self._parameters == other._parameters
        return same and self._versions == other._versions  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def require_unchanged(self) -> None:
        """Raise RuntimeError naming a parameter that has changed since the forward pass: gradients would be wrong."""
        if self.version is VERSION.latest:
            return
        for parameter, version in zip(self._parameters, self._versions, strict=True):
            if parameter.version != version:
                raise RuntimeError(
                    f"{parameter.name} has changed since the forward pass: run backward before updating the parameters"
                )
