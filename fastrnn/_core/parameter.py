"""Trainable arrays with their gradients and versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import checks
from .arrays import Array
from .cache import ARRAYS, VERSION
from .conversion import to_floats
from .fork_lock import ForkLock


class Parameter:
    """A trainable array.

    Its values change only through :meth:`assign` (or ``p.data = value``) and :meth:`writable`. Both increment ``version``,
    because layers cache packed copies of their weights and pack again after a change. NumPy accepts a parameter as an
    array: ``np.asarray(p)`` is ``p.data``, a read-only view, and ``np.array(p)`` is a copy.

    Attributes: ``name``, local to the layer, such as ``"weight_ih_l0"``; ``grad``, an array of the same shape and dtype that
    backward passes add into, or None before the first one; ``version``, an integer.
    """

    __slots__ = ("_array", "_grad", "cached_gradients", "name", "version")

    def __init__(self, name: str, array: Array) -> None:
        """Store ``array`` (any shape, float32 or float64), without a copy if it is contiguous and in native byte order.

        The caller must not change it afterwards.
        """
        checks.float_dtype(f"{name}'s dtype", array.dtype)
        self.name = name
        self._array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
        self._grad: Array | None = None
        self.version = 0
        self.cached_gradients: Any = None  # cache of fastrnn.gradients for the list that begins with this parameter

    def check_replacement(self, name: str, value: object) -> None:
        """Raise TypeError or ValueError unless ``value`` may replace this parameter as a layer's attribute ``name``.

        Kernels trust the sizes that a layer was made with, so a replacement has the same shape and dtype.
        """
        if not isinstance(value, Parameter):
            raise TypeError(f"{name} is a parameter: change its values with .{name}.assign(array)")
        if value.dtype != self.dtype or value.shape != self.shape:
            wrong = TypeError if value.dtype != self.dtype else ValueError
            raise wrong(f"{name} must be a {self.dtype} Parameter of shape {self.shape}, got {value!r}")

    @property
    def values(self) -> Array:
        """The array itself, for kernels that only read it; :meth:`writable` is for changes."""
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
        """Return the values to NumPy, read-only unless copied. Raises ValueError if ``copy=False`` but a copy is needed."""
        return np.array(self.data, dtype, copy=copy)

    def assign(self, value: Array | Parameter) -> None:
        """Copy ``value``, of the same shape and dtype, into the parameter. Raises TypeError or ValueError."""
        if isinstance(value, Parameter):
            value = value._array
        self._array[...] = checks.array(self.name, value, self.shape, self.dtype.name)
        self.changed((self,))  # after the copy: weights packed during it may be half written and must be invalidated

    def writable(self) -> Array:
        """Return the array itself, to change in place at once.

        Each call increments ``version``, so call it again before every change.
        """
        self.version += 1
        VERSION.increment()
        return self._array

    @staticmethod
    def changed(parameters: Iterable[Parameter]) -> None:
        """Increment the version of each parameter, after its values have changed."""
        for parameter in parameters:
            parameter.version += 1
        VERSION.increment()

    @property
    def grad(self) -> Array | None:
        """The gradient, or None. Setting it does not copy the array; raises TypeError or ValueError if it does not fit."""
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
        """Return ``grad``, which backward passes add into; create it as zeros if it is None."""
        if self._grad is None:
            self._grad = np.zeros_like(self._array)
            ARRAYS.increment()
        return self._grad

    def zero_grad(self) -> None:
        """Fill the gradient with zeros, in place."""
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

    @property
    def nbytes(self) -> int:
        """The size of the stored array in bytes."""
        return self._array.nbytes

    def state(self) -> Array:
        """Return a copy of what a state dict holds."""
        return self.data.copy()

    def stored(self) -> Any:
        """Return a copy of what a file holds, for :func:`fastrnn.serialization.save_arrays`."""
        return self.state()

    def convert(self, name: str, value: Any) -> Array:
        """Return an array from a state dict in the form that :meth:`assign` takes. Raises TypeError."""
        return to_floats(name, value, self.dtype)

    def __repr__(self) -> str:
        """Return the name, shape and dtype; the values are in ``data``."""
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.dtype})"


class GradientLock(ForkLock):
    """Lock that lets one backward pass at a time add into a layer's gradients. A copy of a layer gets its own lock."""

    __slots__ = ()


class Snapshot:
    """Parameters and their versions at one time, to detect later changes.

    ``version`` is the ``VERSION.latest`` (:mod:`fastrnn._core.cache`) of that time: while it is the same, none has changed.
    """

    __slots__ = ("_parameters", "_versions", "version")

    def __init__(self, parameters: tuple[Parameter, ...]) -> None:
        self.version = VERSION.latest  # read before the parameters' own versions
        self._parameters = parameters
        self._versions = tuple([p.version for p in parameters])

    def __eq__(self, other: object) -> bool:
        """Return True for the same parameters with the same versions."""
        same = isinstance(other, Snapshot) and self._parameters == other._parameters
        return same and self._versions == other._versions  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def require_unchanged(self) -> None:
        """Raise RuntimeError if a parameter has changed since the forward pass, because gradients would be wrong."""
        if self.version is VERSION.latest:
            return
        for parameter, version in zip(self._parameters, self._versions, strict=True):
            if parameter.version != version:
                raise RuntimeError(
                    f"{parameter.name} has changed since the forward pass: run backward before updating the parameters"
                )
