"""Lambda: a function and its derivative as a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._core import checks
from .._core.arrays import Array
from ._recurrent.inputs import array
from ._symbolic.symbols import Nest, Spec
from ._symbolic.time_axes import require_time
from .base import Layer


class Lambda(Layer):
    """Layer that computes ``y = function(*inputs)``.

    ::

        square = Lambda(lambda x: x * x, lambda dy, x: 2 * x * dy, pointwise=True)

    Parameters
    ----------
    function
        Maps arrays to one array.
    derivative
        ``derivative(dy, *inputs)`` returns the input's gradient, or a tuple with one gradient for each of several inputs
        (None for an input without one, such as ids). Each has its input's shape and dtype. Without a derivative, the layer
        is for inference only.
    output_shape
        ``output_shape(*shapes)`` returns y's shape for the inputs' shapes, whose variable axes are letters:
        ``("T", "B", 64)``. y then has the first input's dtype. By default, a graph calls the function on small arrays.
    pointwise
        True if each time step is computed alone. The layer can then be streamed, and padding affects no other step.
    takes_lengths
        True if the function combines time steps. It and the derivative are then called with ``lengths=``, integers ``[B]``
        or None, and must handle padding themselves.

    Raises
    ------
    TypeError
        If an argument is not callable, if y or a gradient is not an array or has a wrong dtype, and from ``config``,
        because a function does not fit into JSON: write a subclass of :class:`Layer` with a ``config`` instead.
    ValueError
        For a gradient of a wrong shape, a wrong number of gradients, and training without a derivative.
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
        """Return the function's value."""
        y = self.function(*inputs, **self._options(lengths))
        if not isinstance(y, np.ndarray):
            raise TypeError(f"function must return an array, got {checks.describe(y)}")
        return y

    def forward(self, *inputs: Array, lengths: Any = None) -> tuple[Array, Callable[[Array], Any]]:
        """Return y and a backward that maps dy to the input's gradient, or to a tuple of the inputs' gradients."""
        derivative = self.derivative
        if derivative is None:
            raise ValueError("derivative must be given to train a Lambda")
        y = self(*inputs, lengths=lengths)
        shape, dtype = y.shape, y.dtype.name

        def backward(dy: Array) -> Any:
            gradients = derivative(array("dy", dy, shape, dtype, "that of y"), *inputs, **self._options(lengths))
            if len(inputs) == 1 and not isinstance(gradients, tuple):
                return _checked("the gradient from derivative", gradients, inputs[0])
            if not isinstance(gradients, tuple) or len(gradients) != len(inputs):
                count = len(gradients) if isinstance(gradients, tuple) else checks.describe(gradients)
                raise ValueError(
                    f"derivative must return a tuple of {len(inputs)} gradients, one for each input, got {count}"
                )
            pairs = enumerate(zip(gradients, inputs, strict=True))
            checked = tuple(_checked(f"derivative's gradient {i}", gradient, x) for i, (gradient, x) in pairs)
            return checked if len(inputs) > 1 else checked[0]

        return y, backward

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """Return the output's spec; see :meth:`Layer.infer`."""
        if self.output_shape is None:
            return super().infer(*inputs, **options)
        if self.reads_time:
            require_time(self, inputs)
        return Spec(tuple(self.output_shape(*(spec.shape for spec in inputs))), inputs[0].dtype)

    def config(self) -> dict[str, Any]:
        """Raise TypeError, because a function does not fit into JSON."""
        raise TypeError("Lambda cannot be described: it holds a function; write a subclass of Layer with a config()")

    def _options(self, lengths: Any) -> dict[str, Any]:
        return {"lengths": lengths} if self.takes_lengths else {}

    def extra_repr(self) -> str:
        """Return the function's name."""
        return getattr(self.function, "__name__", repr(self.function))


def _checked(name: str, gradient: Any, x: Array) -> Array | None:
    return None if gradient is None else array(name, gradient, x.shape, x.dtype.name, "that of the input")
