"""What happens around the runs of a recurrent layer's kernels: directions merged, masks of dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import memory
from ..backends.protocol import Backend, Params
from .base import Layer
from .direction import Direction
from .dropout import Backward, draw_mask
from .parameter import Parameter

Array = NDArray[Any]

MERGES = ("concat", "sum", "mul", "average")  # Keras' names


@dataclass(frozen=True, slots=True)
class Around:
    """Options of :class:`fastrnn.layers.recurrent_base.Recurrent` that act outside of the kernels, in every layer."""

    merge: str = "concat"
    dropout: float = 0.0
    input_dropout: float = 0.0


NOTHING = Around()


def merged(y: Array, merge: str) -> tuple[Array, Backward]:
    """Both directions' ``y [T,B,2*Y]`` as one ``[T,B,Y]``, and a backward from its gradient to y's."""
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


def dropped(rows: Sequence[Sequence[Direction]], p: float, rng: np.random.Generator) -> list[list[Direction]]:
    """The same layers with fresh masks on their states."""
    return [[DroppedDirection(direction, p, rng) for direction in row] for row in rows]


class DroppedDirection(Direction):
    """A direction whose state h loses some features before the recurrent product, the same at each step.

    With a mask m ``[Y]`` for the whole batch that is a product with other weights, ``(m * h) R^T = h (R * m)^T``, so that
    the kernels need not know: R * m takes R's place, and dR is what they give for it, times m.
    """

    def __init__(self, direction: Direction, p: float, rng: np.random.Generator) -> None:
        super().__init__(direction.spec, direction.names, direction.reverse)
        self._whole = direction
        self._mask = draw_mask((direction.spec.output_size,), direction.spec.dtype, p, rng)

    def parameters(self, owner: Layer) -> tuple[Parameter, ...]:
        """The direction's own."""
        return self._whole.parameters(owner)

    def kernel_params(self, backend: Backend, parameters: tuple[Parameter, ...]) -> Params:
        """The direction's own, but R * m in R's place."""
        params = self._whole.kernel_params(backend, parameters)
        return replace(params, R=params.R * self._mask)

    def gradients(self, owner: Layer) -> Params:
        """The direction's own, but zeros in dR's place."""
        return replace(self._whole.gradients(owner), R=memory.zeros(self.spec.shapes()["R"], self.spec.dtype))

    def use_gradients(self, owner: Layer, backend: Backend, grads: Params) -> None:
        """From the gradient of R * m to dR."""
        self._whole.use_gradients(owner, backend, grads)
        R: Parameter = getattr(owner, self.names["R"])
        R.gradient()[...] += grads.R * self._mask
