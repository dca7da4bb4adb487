"""A function with its derivative as a layer: Lambda."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks
from ._recurrent.inputs import array
from ._symbolic.symbols import Nest, Spec
from ._symbolic.time_axes import require_time
from .base import Layer

Array = NDArray[Any]


class Lambda(Layer):
    """``y = function(*inputs)``, an array of arrays, with the derivative that is given.

    ::

        square = Lambda(lambda x: x * x, lambda dy, x: 2 * x * dy, pointwise=True)

    ``derivative``
        ``derivative(dy, *inputs)`` is the gradient of the one input, or a tuple of one for each; None where there is none,
        as of ids. Each has its input's shape and dtype. Without a derivative the layer is for inference only.
    ``output_shape``
        ``output_shape(*shapes)`` tells y's shape from the inputs', whose variable axes are letters: ``("T", "B", 64)``; y
        has the first input's dtype then. By default a graph finds out by calling the function on small arrays.
    ``pointwise``
        True says that every step of time is computed alone. Then the layer can be streamed, and padding stays padding.
    ``takes_lengths``
        True for a function that looks along time: it is called with ``lengths=``, integers ``[B]`` or None, and so is the
        derivative. What they make of padded steps is theirs to get right.

    A function does not go into JSON, so ``config`` raises TypeError: a class of one's own with a ``config`` does. Raises
    TypeError for what is not callable, for a y or a gradient that is no array or of a wrong dtype; ValueError for a gradient
    of a wrong shape or number, and for training without a derivative.
    """

    def __init__(
        self,
        function: Callable[..., Array],
        derivative: Callable[..., Any] | None = None,
        output_shape: Callable[..., tuple[Any, ...]] | None = None,
        *,
        pointwise: bool = False,
        takes_lengths: bool = False,
    ) -> None:
        given = {"derivative": derivative, "output_shape": output_shape}
        for name, value in {"function": function, **{k: v for k, v in given.items() if v is not None}}.items():
            if not callable(value):
                raise TypeError(f"{name} must be callable, got {checks.describe(value)}")
        self.function, self.derivative, self.output_shape = function, derivative, output_shape
        self.pointwise = checks.flag("pointwise", pointwise)
        self.takes_lengths = checks.flag("takes_lengths", takes_lengths)

    def __call__(self, *inputs: Array, lengths: Any = None) -> Array:
        """y."""
        y = self.function(*inputs, **self._options(lengths))
        if not isinstance(y, np.ndarray):
            raise TypeError(f"what function gives must be an array, got {checks.describe(y)}")
        return y

    def forward(self, *inputs: Array, lengths: Any = None) -> tuple[Array, Callable[[Array], Any]]:
        """y, and a backward that maps dy to the input's gradient, or to a tuple of the inputs'."""
        derivative = self.derivative
        if derivative is None:
            raise ValueError("derivative must be given for a Lambda that is trained")
        y = self(*inputs, lengths=lengths)
        shape, dtype = y.shape, y.dtype.name

        def backward(dy: Array) -> Any:
            gradients = derivative(array("dy", dy, shape, dtype, "that of y"), *inputs, **self._options(lengths))
            if len(inputs) == 1 and not isinstance(gradients, tuple):
                return _checked("what derivative gives", gradients, inputs[0])
            if not isinstance(gradients, tuple) or len(gradients) != len(inputs):
                count = len(gradients) if isinstance(gradients, tuple) else checks.describe(gradients)
                raise ValueError(f"derivative must give a tuple of {len(inputs)} gradients, one for each input, got {count}")
            pairs = enumerate(zip(gradients, inputs, strict=True))
            checked = tuple(_checked(f"derivative's gradient {i}", gradient, x) for i, (gradient, x) in pairs)
            return checked if len(inputs) > 1 else checked[0]

        return y, backward

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """y's spec; see :meth:`Layer.infer`."""
        if self.output_shape is None:
            return super().infer(*inputs, **options)
        if self.reads_time:
            require_time(self, inputs)
        return Spec(tuple(self.output_shape(*(spec.shape for spec in inputs))), inputs[0].dtype)

    def config(self) -> dict[str, Any]:
        """Raises TypeError: functions do not go into JSON."""
        raise TypeError("Lambda cannot be described: it has a function in it; make a subclass of Layer with a config()")

    def _options(self, lengths: Any) -> dict[str, Any]:
        return {"lengths": lengths} if self.takes_lengths else {}

    def extra_repr(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", repr(self.function))


def _checked(name: str, gradient: Any, x: Array) -> Array | None:
    return None if gradient is None else array(name, gradient, x.shape, x.dtype.name, "that of the input")
