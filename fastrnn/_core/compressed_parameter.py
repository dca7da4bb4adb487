"""Parameters whose values are stored in fewer bytes, for inference."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from .arrays import Array
from .checks import describe
from .conversion import Bfloat16, from_bfloat16, to_bfloat16, to_floats
from .parameter import Parameter

FORMATS = ("bfloat16", "int8")
LARGEST = 127  # of the int8 values in use: the range is symmetric
FLOAT32 = np.dtype(np.float32)


class CompressedParameter(Parameter):
    """A float32 matrix ``[n, K]`` stored as ``codes``; each access to its values expands them into a new array.

    It cannot be trained: gradients and changes in place raise RuntimeError.
    """

    __slots__ = ("scales",)

    def __init__(self, name: str, codes: Array, scales: Scales | None = None) -> None:
        self.name, self.version, self.cached_gradients = name, 0, None
        self.scales = scales
        self._array, self._grad = codes, None

    @property
    def codes(self) -> Array:
        """The stored numbers: the bits of bfloat16 as uint16, or int8."""
        return self._array

    @property
    def data(self) -> Array:
        """The values, expanded to a read-only float32 array."""
        values = self.values
        values.flags.writeable = False
        return values

    @data.setter
    def data(self, value: Any) -> None:
        self.assign(value)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values, float32."""
        return FLOAT32

    def check_replacement(self, name: str, value: object) -> None:
        """Raise TypeError: a compressed parameter is never replaced."""
        refuse_replacement(self, name, value)

    def writable(self) -> NoReturn:
        """Raise RuntimeError."""
        raise RuntimeError(f"{self.name} is compressed: change the original layer and compress it again")

    def gradient(self) -> NoReturn:
        """Raise RuntimeError."""
        raise RuntimeError(f"{self.name} is compressed, for inference only: train the original layer and compress it again")


class Bfloat16Parameter(CompressedParameter):
    """A float32 matrix stored as bfloat16."""

    __slots__ = ()

    @property
    def values(self) -> Array:
        """The values, expanded to float32."""
        return from_bfloat16(self._array)

    def assign(self, value: Any) -> None:
        """Round float32 values to bfloat16 and store them. Raises TypeError or ValueError."""
        if getattr(value, "shape", None) != self.shape:
            raise ValueError(f"{self.name} must have shape {self.shape}, got {describe(value)}")
        self._array[...] = to_bfloat16(to_floats(self.name, value, FLOAT32))
        self.changed((self,))

    def stored(self) -> Bfloat16:
        """Return a copy of the bits."""
        return Bfloat16(self._array.copy())


class Int8Parameter(CompressedParameter):
    """A float32 matrix stored as int8; row i is ``codes[i] * scales[i]``."""

    __slots__ = ()

    @property
    def values(self) -> Array:
        """The values, expanded to float32."""
        assert self.scales is not None
        return self._array * self.scales.values[:, None]

    def assign(self, value: Any) -> None:
        """Store int8 codes. Raises TypeError or ValueError."""
        value = self.convert(self.name, value)
        if value.shape != self.shape:
            raise ValueError(f"{self.name} must have shape {self.shape}, got {describe(value)}")
        self._array[...] = value
        self.changed((self,))

    def state(self) -> Array:
        """Return a copy of the codes."""
        return self._array.copy()

    def convert(self, name: str, value: Any) -> Array:
        """Return int8 codes from a state dict. Raises TypeError for another dtype."""
        array = np.asarray(value)
        if array.dtype != np.int8:
            hint = "load the original layer and compress it"
            raise TypeError(f"{name} must be an int8 array, because the layer is compressed, got {describe(array)}: {hint}")
        return array


class Scales(Parameter):
    """The scales ``[n]`` of an :class:`Int8Parameter`, float32."""

    __slots__ = ()

    def check_replacement(self, name: str, value: object) -> None:
        """Raise TypeError: a compressed parameter is never replaced."""
        refuse_replacement(self, name, value)


def refuse_replacement(own: Parameter, name: str, value: object) -> None:
    """Raise TypeError if ``value`` is a parameter other than ``own``."""
    if value is not own:
        raise TypeError(f"{name} of a compressed layer cannot be replaced: compress the original layer again")


def quantize_rows(name: str, values: Array) -> tuple[Array, Array]:
    """Return int8 codes ``[n, K]`` and float32 scales ``[n]`` of float32 ``values [n, K]``.

    A row's scale is ``max|row| / 127``, and its codes are ``row / scale`` rounded to nearest, ties to even. Raises
    ValueError for a row that holds NaN or infinity.
    """
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name} must be finite to become int8: row {int(finite.argmin())} holds NaN or infinity")
    scales = (np.abs(values).max(axis=1) / np.float32(LARGEST)).astype(np.float32)
    divisors = np.where(scales > 0, scales, np.float32(1))  # a row of zeros, or of numbers too small for a scale
    codes = np.rint(values / divisors[:, None])
    codes[scales == 0] = 0
    return np.clip(codes, -LARGEST, LARGEST).astype(np.int8), scales


def blank(name: str, shape: tuple[int, ...], form: str, scales_name: str) -> list[CompressedParameter | Scales]:
    """Return what :func:`compress` returns, of zeros."""
    if form == "bfloat16":
        return [Bfloat16Parameter(name, np.zeros(shape, np.uint16))]
    scales = Scales(scales_name, np.zeros(shape[0], FLOAT32))
    return [Int8Parameter(name, np.zeros(shape, np.int8), scales), scales]


def compress(parameter: Parameter, form: str, scales_name: str) -> list[CompressedParameter | Scales]:
    """Return a matrix in a form of ``FORMATS``: the compressed parameter and, for int8, its scales. Raises ValueError."""
    if form == "bfloat16":
        return [Bfloat16Parameter(parameter.name, to_bfloat16(parameter.values))]
    codes, numbers = quantize_rows(parameter.name, parameter.values)
    scales = Scales(scales_name, numbers)
    return [Int8Parameter(parameter.name, codes, scales), scales]
