"""Merge modes and dropout masks of the recurrent layers, which act outside the kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..._core import memory
from ..._core.arrays import Array
from ..._core.parameter import Parameter
from ...backends.base import Backend
from ...backends.structs import Weights
from ..dropout import Backward, draw_mask
from .part import Part

MERGES = ("concat", "sum", "mul", "average")  # Keras's names


@dataclass(frozen=True, slots=True)
class MergeAndDropout:
    """Options of :class:`fastrnn.layers._recurrent.base.Recurrent` that act on each layer outside the kernels."""

    merge: str = "concat"
    dropout: float = 0.0
    input_dropout: float = 0.0


def merged(y: Array, merge: str) -> tuple[Array, Backward]:
    """Merge both directions' ``y [T,B,2*Y]`` into ``[T,B,Y]``; also returns a backward from its gradient to y's."""
    Y = y.shape[-1] // 2
    a, b = y[..., :Y], y[..., Y:]
    result = memory.empty(a.shape, y.dtype)
    if merge == "mul":
        np.multiply(a, b, out=result)
    else:
        np.add(a, b, out=result)
    if merge == "average":
        result *= 0.5

    def backward(dresult: Array) -> Array:
        dy = memory.empty(y.shape, y.dtype)
        if merge == "mul":
            with np.errstate(invalid="ignore", over="ignore"):  # padding may hold infinity
                np.multiply(dresult, b, out=dy[..., :Y])
                np.multiply(dresult, a, out=dy[..., Y:])
        else:
            dy[..., :Y] = dy[..., Y:] = dresult * 0.5 if merge == "average" else dresult
        return dy

    return result, backward


class DroppedPart(Part):
    """A part with dropout of features of h before the recurrent product, the same at each step.

    A mask m ``[Y]`` for the whole batch is equivalent to other weights, ``(m * h) R^T = h (R * m)^T``. So the kernels run
    unchanged on R * m, and dR is their gradient of R * m, times m.
    """

    def __init__(self, part: Part, p: float, rng: np.random.Generator) -> None:
        super().__init__(part.spec, part.parameters)
        self._whole = part
        self._mask = draw_mask((part.spec.output_size,), part.spec.dtype, p, rng)

    def all_parameters(self) -> tuple[Parameter, ...]:
        """Return the part's parameters."""
        return self._whole.all_parameters()

    def kernel_weights(self, backend: Backend) -> Weights:
        """Return the part's weights with R * m instead of R."""
        weights = self._whole.kernel_weights(backend)
        return replace(weights, R=weights.R * self._mask)

    def gradients(self) -> Weights:
        """Return the part's gradients with zeros for R * m instead of dR."""
        return replace(self._whole.gradients(), R=memory.zeros(self.spec.shapes()["R"], self.spec.dtype))

    def use_gradients(self, backend: Backend, gradients: Weights) -> None:
        """Propagate the gradient of R * m to dR."""
        self._whole.use_gradients(backend, gradients)
        self._whole.parameters["R"].gradient()[...] += gradients.R * self._mask
