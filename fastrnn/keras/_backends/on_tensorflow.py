"""One cell on Keras' TensorFlow backend, differentiable, in eager mode and in graphs.

``tf.numpy_function`` calls the kernels, so XLA cannot compile a graph with them. The gradient runs the forward pass again,
because its tape is not a tensor that a graph could keep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from ..._core.arrays import Array
from ...backends.structs import CellSpec
from ...functional import stack_backward
from .._unsupported import Unsupported
from .._weights import Library, arrays_of, torch_order
from .on_numpy import forward, outputs, spec_of

FIRST_OUTPUT_IS_STATE = False
TENSORFLOW = Library(tf.concat, tf.zeros_like, tf.transpose)


def known(value: Any) -> bool | None:
    """Return a boolean scalar's value, or None in a graph."""
    return None if tf.is_symbolic_tensor(value) else bool(value)


def run(options: dict[str, Any], cell: Any, x: Any, states: list[Any], lengths: Any) -> list[Any]:
    """Return ``y [B,T,H], h_n [B,H]``, and c_n for LSTM. Raises Unsupported if there is a GPU."""
    if tf.config.list_logical_devices("GPU"):
        raise Unsupported("device GPU")
    weights = torch_order(options["cell"], [tf.convert_to_tensor(array) for array in arrays_of(cell)], TENSORFLOW)
    call = _Call(spec_of(options, cell, x), len(states), len(weights))
    return list(_differentiable(call)(x, *states, *weights, *([] if lengths is None else [lengths])))


def _differentiable(call: _Call) -> Any:
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run_cell(*arrays: Any) -> Any:
        x, states, weights, _ = call.split(arrays)
        like_y = [*x.shape[:-1], call.spec.hidden_size]

        def gradient(*gradients: Any) -> list[Any]:
            shapes = [array.shape for array in (x, *states, *weights)]
            found = _on_host(call.backward, [*arrays, *gradients], shapes, x.dtype)
            return found + [None] * (len(arrays) - len(found))  # lengths have no gradient

        return _on_host(call.forward, arrays, [like_y, *(state.shape for state in states)], x.dtype), gradient

    return run_cell


def _on_host(function: Callable[..., Any], arrays: Any, shapes: list[Any], dtype: Any) -> list[Any]:
    found = tf.numpy_function(function, arrays, [dtype] * len(shapes), stateful=False)
    for tensor, shape in zip(found, shapes, strict=True):
        tensor.set_shape(shape)
    return list(found)


class _Call(NamedTuple):
    """A cell, and how many states and weights lie between x and lengths among the arrays of a call."""

    spec: CellSpec
    states: int
    weights: int

    def split(self, arrays: Any) -> tuple[Any, Any, Any, Any]:
        """Return x, states, weights, and lengths or None."""
        end = 1 + self.states + self.weights
        return arrays[0], arrays[1 : 1 + self.states], arrays[1 + self.states : end], [*arrays[end:], None][0]

    def forward(self, *arrays: Array) -> list[Array]:
        """Return ``y, h_n``, and c_n for LSTM, from arrays."""
        x, states, weights, lengths = self.split(arrays)
        return outputs(forward(self.spec, weights, x, states, lengths))

    def backward(self, *arrays: Array) -> list[Array]:
        """Return the gradients of x, states and weights; the outputs' gradients are the last arrays."""
        given, (dy, *dlast) = arrays[: -1 - self.states], arrays[-1 - self.states :]
        x, states, weights, lengths = self.split(given)
        tape = forward(self.spec, weights, x, states, lengths, keep_tape=True).tape
        assert tape is not None
        found = stack_backward(tape, dy, *(d[None] for d in dlast))
        dstates = [d[0] for d in (found.dh0, found.dc0) if d is not None]
        assert found.dx is not None
        return [found.dx, *dstates, *(array for _, array in found.weights[0].items())]
