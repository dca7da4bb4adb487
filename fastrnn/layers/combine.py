"""Several values into one: Concat, Add, Multiply, Average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks, memory
from ._recurrent.inputs import array, floats
from ._symbolic.symbols import OPERATORS, Nest, Spec
from .base import Layer

Array = NDArray[Any]
Backward = Callable[[Array], tuple[Array, ...]]


class Concat(Layer):
    """The inputs side by side along ``axis``: ``concat(a, b, ...)``, as numpy.concatenate.

    Inputs are of one dtype, and of one shape but for ``axis``. On symbols no axis but that of the features (or another one
    without a letter) can be joined: behind each other, padded sequences would have their padding in the middle. Raises
    TypeError for what is not an array of floats or for different dtypes, ValueError for shapes that do not fit.
    """

    pointwise = True

    def __init__(self, axis: int = -1) -> None:
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise TypeError(f"axis must be an integer, got {checks.describe(axis)}")
        self.axis = int(axis)

    def __call__(self, *inputs: Array) -> Array:
        """The inputs side by side."""
        self._check(inputs)
        return np.concatenate(inputs, self.axis)

    def forward(self, *inputs: Array) -> tuple[Array, Backward]:
        """y, and a backward that cuts dy into the inputs' gradients, which are views of it."""
        y = self(*inputs)
        ends = np.cumsum([x.shape[self.axis] for x in inputs])[:-1]
        shape, dtype = y.shape, y.dtype.name

        def backward(dy: Array) -> tuple[Array, ...]:
            return tuple(np.split(array("dy", dy, shape, dtype, "that of y"), ends, self.axis))

        return y, backward

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """The output's spec; see :meth:`Layer.infer`."""
        _same_letters(inputs, skip=self.axis)
        shape = inputs[0].shape
        if self.axis in range(-len(shape), len(shape)):
            time = inputs[0].time is not None and self.axis % len(shape) == 0
            if time or isinstance(shape[self.axis], str):
                raise ValueError(f"axis = {self.axis} is {shape[self.axis]}: neither time nor what varies can be joined")
        return super().infer(*inputs, **options)

    def _check(self, inputs: tuple[Array, ...]) -> None:
        first = _first(inputs)
        if not -first.ndim <= self.axis < first.ndim:
            raise ValueError(f"axis = {self.axis} is not one of inputs[0]'s, {checks.describe(first)}")
        axis = self.axis % first.ndim
        wanted = first.shape[:axis] + first.shape[axis + 1 :]
        for i, x in enumerate(inputs):
            floats(f"inputs[{i}]", x, first.dtype)
            if x.ndim != first.ndim or x.shape[:axis] + x.shape[axis + 1 :] != wanted:
                fitting = f"the shape of inputs[0], {first.shape}, but for axis {self.axis}"
                raise ValueError(f"inputs[{i}] must have {fitting}, got {x.shape}")

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class Stack(Layer):
    """The inputs along a new axis: ``stack(a, b, ...)``, as numpy.stack; by default each is a step of time.

    ``[B, ...]`` each become ``y [n, B, ...]``, a sequence of n steps; with another ``axis``, such as -1, they become
    features. Inputs are of one shape and dtype. Raises TypeError for what is not an array of floats or for different dtypes,
    ValueError for different shapes or an axis that y does not have.
    """

    pointwise = True

    def __init__(self, axis: int = 0) -> None:
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise TypeError(f"axis must be an integer, got {checks.describe(axis)}")
        self.axis = int(axis)
        self.makes_time = self.axis == 0

    def __call__(self, *inputs: Array) -> Array:
        """y."""
        _check_same(inputs)
        self._place(inputs[0].ndim)
        return np.stack(inputs, self.axis)

    def forward(self, *inputs: Array) -> tuple[Array, Backward]:
        """y, and a backward that takes dy apart into the inputs' gradients, which are views of it."""
        y = self(*inputs)
        shape, dtype = y.shape, y.dtype.name

        def backward(dy: Array) -> tuple[Array, ...]:
            return tuple(np.moveaxis(array("dy", dy, shape, dtype, "that of y"), self.axis, 0))

        return y, backward

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """The output's spec; see :meth:`Layer.infer`."""
        _same_letters(inputs)
        first = inputs[0]
        place = self._place(len(first.shape))
        if first.sequence and place < 2:
            raise ValueError(f"axis = {self.axis} must come after time and batch: the inputs have time already")
        return Spec((*first.shape[:place], len(inputs), *first.shape[place:]), first.dtype)

    def _place(self, ndim: int) -> int:
        if not -ndim - 1 <= self.axis <= ndim:
            raise ValueError(f"axis = {self.axis} must be one of the {ndim + 1} that y has")
        return self.axis % (ndim + 1)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class _Elementwise(Layer):
    """Inputs of one shape and dtype, element by element; one input comes back as it is."""

    pointwise = True

    def __call__(self, *inputs: Array) -> Array:
        """The inputs as one."""
        _check_same(inputs)
        return self._combine(inputs)

    def forward(self, *inputs: Array) -> tuple[Array, Backward]:
        """y, and a backward that maps dy to a tuple of one gradient for each input; they may be one array."""
        _check_same(inputs)
        first = inputs[0]

        def backward(dy: Array) -> tuple[Array, ...]:
            return self._gradients(array("dy", dy, first.shape, first.dtype.name, "that of each input"), inputs)

        return self._combine(inputs), backward

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """The output's spec; see :meth:`Layer.infer`."""
        _same_letters(inputs)
        return super().infer(*inputs, **options)

    def _combine(self, inputs: tuple[Array, ...]) -> Array:
        raise NotImplementedError

    def _gradients(self, dy: Array, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        raise NotImplementedError


class Add(_Elementwise):
    """The sum of its inputs, ``add(a, b, ...)``: of one shape and dtype. A residual connection is ``add(x, layer(x))``.

    Raises TypeError for what is not an array of floats or for different dtypes, ValueError for different shapes.
    """

    def _combine(self, inputs: tuple[Array, ...]) -> Array:
        return _reduced(np.add, inputs)

    def _gradients(self, dy: Array, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        return (dy,) * len(inputs)


class Average(_Elementwise):
    """The mean of its inputs, ``average(a, b, ...)``: of one shape and dtype. Errors as :class:`Add`'s."""

    def _combine(self, inputs: tuple[Array, ...]) -> Array:
        total = _reduced(np.add, inputs)
        return total / len(inputs) if total is inputs[0] else np.divide(total, len(inputs), out=total)

    def _gradients(self, dy: Array, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        return (dy / len(inputs),) * len(inputs)


class Multiply(_Elementwise):
    """The product of its inputs, ``multiply(a, b, ...)``: of one shape and dtype. Errors as :class:`Add`'s.

    The inputs must stay as they are until backward has run.
    """

    def _combine(self, inputs: tuple[Array, ...]) -> Array:
        return _reduced(np.multiply, inputs)

    def _gradients(self, dy: Array, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        # dy times the product of the others, never y / x: x may hold zeros.
        others = [inputs[:i] + inputs[i + 1 :] for i in range(len(inputs))]
        return tuple(_reduced(np.multiply, (dy, *rest)) for rest in others)


OPERATORS |= {"+": Add, "*": Multiply}


def _reduced(function: np.ufunc, inputs: tuple[Array, ...]) -> Array:
    """``function`` over all inputs, in order, in a new array; a single one comes back itself."""
    if len(inputs) == 1:
        return inputs[0]
    y = memory.empty(inputs[0].shape, inputs[0].dtype)
    function(inputs[0], inputs[1], out=y)
    for x in inputs[2:]:
        function(y, x, out=y)
    return y


def _first(inputs: tuple[Array, ...]) -> Array:
    """The first input, checked. Raises TypeError."""
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
    """Refuse axes that would fit only by chance, such as one input's T and another's S. Raises ValueError."""
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
            but = "" if skip is None else f" but for axis {skip}"
            raise ValueError(f"inputs[{i}] must have the shape of inputs[0], {shown[0]}{but}, got {shown[1]}")
