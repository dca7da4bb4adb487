"""Layers that combine several inputs: Concat, Stack, Add, Average, Multiply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core import checks, memory
from .._core.arrays import Array
from ._recurrent.inputs import array, floats
from ._symbolic.symbols import OPERATORS, Nest, Spec
from .base import Layer

Backward = Callable[[Array], tuple[Array, ...]]


class _Joined(Layer):
    """Base of layers that join their inputs along an axis; backward splits dy into views."""

    pointwise = True

    def __init__(self, axis: int) -> None:
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise TypeError(f"axis must be an integer, got {checks.describe(axis)}")
        self.axis = int(axis)

    def forward(self, *inputs: Array) -> tuple[Array, Backward]:
        """Return y and a backward that splits dy into the inputs' gradients, which are views of dy."""
        y = self(*inputs)
        shape, dtype, shapes = y.shape, y.dtype.name, [x.shape for x in inputs]

        def backward(dy: Array) -> tuple[Array, ...]:
            return self._split(array("dy", dy, shape, dtype, "that of y"), shapes)

        return y, backward

    def _split(self, dy: Array, shapes: list[tuple[int, ...]]) -> tuple[Array, ...]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"axis={self.axis}"


class Concat(_Joined):
    """Concatenation of the inputs along ``axis``: ``concat(a, b, ...)``, as numpy.concatenate.

    Inputs have one dtype, and one shape except along ``axis``. Symbols can be joined only along an axis of fixed size, such
    as the features: joined along time, padded sequences would have padding in the middle. Raises TypeError for an input that
    is not an array of floats or has another dtype, ValueError for shapes that do not fit.
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(axis)

    def __call__(self, *inputs: Array) -> Array:
        """Return the concatenated inputs."""
        self._check(inputs)
        return np.concatenate(inputs, self.axis)

    def _split(self, dy: Array, shapes: list[tuple[int, ...]]) -> tuple[Array, ...]:
        return tuple(np.split(dy, np.cumsum([shape[self.axis] for shape in shapes])[:-1], self.axis))

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        _same_letters(inputs, skip=self.axis)
        shape = inputs[0].shape
        if self.axis in range(-len(shape), len(shape)):
            time = inputs[0].time is not None and self.axis % len(shape) == 0
            if time or isinstance(shape[self.axis], str):
                raise ValueError(
                    f"axis must be neither time nor of variable size, got {self.axis}, which is {shape[self.axis]}"
                )
        return super().infer(*inputs, **options)

    def _check(self, inputs: tuple[Array, ...]) -> None:
        first = _first(inputs)
        if not -first.ndim <= self.axis < first.ndim:
            raise ValueError(f"axis must be an axis of inputs[0], {checks.describe(first)}, got {self.axis}")
        axis = self.axis % first.ndim
        wanted = first.shape[:axis] + first.shape[axis + 1 :]
        for i, x in enumerate(inputs):
            floats(f"inputs[{i}]", x, first.dtype)
            if x.ndim != first.ndim or x.shape[:axis] + x.shape[axis + 1 :] != wanted:
                fitting = f"the shape of inputs[0], {first.shape}, except along axis {self.axis}"
                raise ValueError(f"inputs[{i}] must have {fitting}, got {x.shape}")


class Stack(_Joined):
    """Stack of the inputs along a new axis: ``stack(a, b, ...)``, as numpy.stack; by default each input is a time step.

    n inputs ``[B, ...]`` become ``y [n, B, ...]``, a sequence of n steps. With another ``axis``, such as -1, they become
    features. Inputs have one shape and dtype. Raises TypeError for an input that is not an array of floats or has another
    dtype, ValueError for different shapes or an axis that y does not have.
    """

    def __init__(self, axis: int = 0) -> None:
        super().__init__(axis)
        self.makes_time = self.axis == 0

    def __call__(self, *inputs: Array) -> Array:
        """Return the stacked inputs."""
        _check_same(inputs)
        self._place(inputs[0].ndim)
        return np.stack(inputs, self.axis)

    def _split(self, dy: Array, shapes: list[tuple[int, ...]]) -> tuple[Array, ...]:
        return tuple(np.moveaxis(dy, self.axis, 0))

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        _same_letters(inputs)
        first = inputs[0]
        place = self._place(len(first.shape))
        if first.sequence and place < 2:
            raise ValueError(f"axis must come after time and batch, because the inputs have a time axis, got {self.axis}")
        return Spec((*first.shape[:place], len(inputs), *first.shape[place:]), first.dtype)

    def _place(self, ndim: int) -> int:
        if not -ndim - 1 <= self.axis <= ndim:
            raise ValueError(f"axis must be one of y's {ndim + 1} axes, got {self.axis}")
        return self.axis % (ndim + 1)


class _Elementwise(Layer):
    """Elementwise function of inputs with one shape and dtype; a single input is returned unchanged."""

    pointwise = True

    def __call__(self, *inputs: Array) -> Array:
        """Return the combined inputs."""
        _check_same(inputs)
        return self._combine(inputs)

    def forward(self, *inputs: Array) -> tuple[Array, Backward]:
        """Return y and a backward that maps dy to a tuple with each input's gradient; several may be the same array."""
        _check_same(inputs)
        first = inputs[0]

        def backward(dy: Array) -> tuple[Array, ...]:
            return self._gradients(array("dy", dy, first.shape, first.dtype.name, "that of each input"), inputs)

        return self._combine(inputs), backward

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        _same_letters(inputs)
        return super().infer(*inputs, **options)

    def _combine(self, inputs: tuple[Array, ...]) -> Array:
        raise NotImplementedError

    def _gradients(self, dy: Array, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        raise NotImplementedError


class Add(_Elementwise):
    """Sum of inputs with one shape and dtype: ``add(a, b, ...)``. A residual connection is ``add(x, layer(x))``.

    Raises TypeError for an input that is not an array of floats or has another dtype, ValueError for different shapes.
    """

    def _combine(self, inputs: tuple[Array, ...]) -> Array:
        return _reduced(np.add, inputs)

    def _gradients(self, dy: Array, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        return (dy,) * len(inputs)


class Average(_Elementwise):
    """Mean of inputs with one shape and dtype: ``average(a, b, ...)``. Raises the errors of :class:`Add`."""

    def _combine(self, inputs: tuple[Array, ...]) -> Array:
        total = _reduced(np.add, inputs)
        return total / len(inputs) if total is inputs[0] else np.divide(total, len(inputs), out=total)

    def _gradients(self, dy: Array, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        return (dy / len(inputs),) * len(inputs)


class Multiply(_Elementwise):
    """Product of inputs with one shape and dtype: ``multiply(a, b, ...)``. Raises the errors of :class:`Add`.

    The inputs must not change until backward has run.
    """

    def _combine(self, inputs: tuple[Array, ...]) -> Array:
        return _reduced(np.multiply, inputs)

    def _gradients(self, dy: Array, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        # Not dy * y / x, because x may hold zeros.
        others = [inputs[:i] + inputs[i + 1 :] for i in range(len(inputs))]
        return tuple(_reduced(np.multiply, (dy, *rest)) for rest in others)


OPERATORS |= {"+": Add, "*": Multiply}


def _reduced(function: np.ufunc, inputs: tuple[Array, ...]) -> Array:
    """Reduce the inputs with ``function``, in order, into a new array; return a single input itself."""
    if len(inputs) == 1:
        return inputs[0]
    y = memory.empty(inputs[0].shape, inputs[0].dtype)
    function(inputs[0], inputs[1], out=y)
    for x in inputs[2:]:
        function(y, x, out=y)
    return y


def _first(inputs: tuple[Array, ...]) -> Array:
    """Return the first input. Raises TypeError if there is none or it is not an array of floats."""
    if not inputs:
        raise TypeError("inputs must be at least one array, got none")
    return floats("inputs[0]", inputs[0])


def _check_same(inputs: tuple[Array, ...]) -> None:
    first = _first(inputs)
    for i, x in enumerate(inputs):
        floats(f"inputs[{i}]", x, first.dtype)
        if x.shape != first.shape:
            raise ValueError(f"inputs[{i}] must have the shape of inputs[0], {first.shape}, got {x.shape}")


def _same_letters(specs: tuple[Nest, ...], skip: int | None = None) -> None:
    """Raise ValueError for axes whose sizes would match only by chance, such as T in one input and S in another."""
    for i, spec in enumerate(specs):
        if not isinstance(spec, Spec):
            raise TypeError(f"inputs[{i}] must be one value, got {checks.describe(spec)}")
    first, *rest = (spec.shape for spec in specs)
    for i, shape in enumerate(rest, 1):
        fits = len(shape) == len(first) and all(
            a == b for axis, (a, b) in enumerate(zip(first, shape, strict=True)) if skip is None or axis != skip % len(first)
        )
        if not fits:
            shown = [f"[{', '.join(map(str, s))}]" for s in (first, shape)]
            exception = "" if skip is None else f", except along axis {skip}"
            raise ValueError(f"inputs[{i}] must have the shape of inputs[0], {shown[0]}{exception}, got {shown[1]}")
