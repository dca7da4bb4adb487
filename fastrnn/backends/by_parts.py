"""Stacks run part by part, for a backend that has no calls for whole stacks.

forward     y^l = both directions of layer l over y^(l-1), side by side in every row; y^0 = x
backward    dy^(l-1) = the sum over the directions of dx, l = L..1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core import memory
from .._core.arrays import Array
from .._core.checks import plain
from .row_order import RowOrder
from .structs import TIME_MAJOR, CellSpec, Gradients, Inputs, OutputGradients, Outputs, StackSpec, Weights


@dataclass(frozen=True, slots=True)
class PreparedParts:
    """A stack with each of its parts in the backend's form."""

    spec: StackSpec
    parts: list[Any]


@dataclass(frozen=True, slots=True)
class PartsTape:
    """The tapes of a stack's parts, and the order of the caller's rows, or None for time-major."""

    spec: StackSpec
    tapes: list[Any]
    order: RowOrder | None


class ByParts:
    """Stacks built from three methods that each handle one part. The states of a part have no axis ``L*D``."""

    def prepare_part(self, spec: CellSpec, weights: Weights) -> Any:
        """Prepare one part to run; the weights do not change while the result is in use."""
        raise NotImplementedError

    def forward_part(
        self, prepared: Any, inputs: Inputs, *, reverse: bool = False, training: bool = False, cell_states: bool = False
    ) -> Outputs:
        """Run one part over time; ``reverse`` runs each sequence from its own last step to its first."""
        raise NotImplementedError

    def backward_part(self, tape: Any, dout: OutputGradients, gradients: Weights, *, need_dx: bool = True) -> Gradients:
        """Run one part's backward pass, which ADDS into ``gradients``; the tape is used up."""
        raise NotImplementedError

    def prepare(self, spec: StackSpec, weights: Sequence[Weights]) -> PreparedParts:
        """See :meth:`Backend.prepare`."""
        layers = [spec.layer(i // spec.directions) for i in range(spec.parts)]
        return PreparedParts(spec, [self.prepare_part(*part) for part in zip(layers, weights, strict=True)])

    def forward(
        self,
        prepared: PreparedParts,
        inputs: Inputs,
        *,
        training: bool = False,
        cell_states: bool = False,
        memory: Array | None = None,
    ) -> Outputs:
        """See :meth:`Backend.forward`; the tape of parts does not use ``memory``."""
        order = None if inputs.rows == TIME_MAJOR else RowOrder(inputs)
        if order is not None:
            inputs = inputs._replace(x=order.inward(inputs.x), rows=TIME_MAJOR)
        spec, x = prepared.spec, inputs.x
        outs: list[Outputs] = []
        c = None
        for parts in _by_layer(spec):
            row = []
            for i in parts:
                own = Inputs(x, _part(inputs.h0, i), _part(inputs.c0, i), inputs.lengths)
                options = {"training": training, "cell_states": cell_states and i >= spec.parts - spec.directions}
                row.append(self.forward_part(prepared.parts[i], own, reverse=_is_reverse(spec, i), **options))
            x, c = _side_by_side([out.y for out in row]), _side_by_side([out.c for out in row])
            outs += row
        tape = PartsTape(spec, [out.tape for out in outs], order) if training else None
        h_n = _stacked([out.h_n for out in outs])
        assert h_n is not None
        if order is not None:
            x, c = order.outward(x), None if c is None else order.outward(c)
        return Outputs(x, h_n, _stacked([out.c_n for out in outs]), c, tape)

    def backward(
        self, tape: PartsTape, dout: OutputGradients, gradients: Sequence[Weights], *, need_dx: bool = True
    ) -> Gradients:
        """See :meth:`Backend.backward`."""
        spec, order = tape.spec, tape.order
        found: list[Gradients] = []
        dy, dc, dx = dout.dy, dout.dc, None
        if order is not None:
            dy, dc = (None if d is None else order.inward(d) for d in (dy, dc))
        for parts in reversed(list(_by_layer(spec))):
            row = []
            for i, dy_part, dc_part in zip(parts, _columns(dy, spec), _columns(dc, spec), strict=True):
                own = OutputGradients(dy_part, _part(dout.dh_n, i), _part(dout.dc_n, i), dc_part)
                row.append(self.backward_part(tape.tapes[i], own, gradients[i], need_dx=need_dx or i >= spec.directions))
            dx = row[0].dx
            for other in row[1:]:
                if dx is not None:
                    dx += other.dx
            dy, dc = dx, None
            found = row + found
        dh0 = _stacked([part.dh0 for part in found])
        assert dh0 is not None
        if order is not None and dx is not None:
            dx = order.outward(dx)
        return Gradients(dx, dh0, _stacked([part.dc0 for part in found]))


def _by_layer(spec: StackSpec) -> Iterator[range]:
    """Yield the part numbers of each layer, from the lowest layer up."""
    for first in range(0, spec.parts, spec.directions):
        yield range(first, first + spec.directions)


def _is_reverse(spec: StackSpec, part: int) -> bool:
    return bool(part % spec.directions) != spec.reverse


def _part(states: Array | None, part: int) -> Array | None:
    return None if states is None else states[part]


def _stacked(states: Sequence[Array | None]) -> Array | None:
    """Return the parts' states as one array, or None if the cell has no such state."""
    found = [state for state in states if state is not None]
    return np.stack(found) if found else None


def _side_by_side(outputs: Sequence[Array | None]) -> Any:
    """Concatenate the directions' outputs along the last axis."""
    found = [output for output in outputs if output is not None]
    if len(found) < 2:
        return found[0] if found else None
    shape = (*found[0].shape[:-1], sum(output.shape[-1] for output in found))
    return np.concatenate(found, axis=-1, out=memory.empty(shape, found[0].dtype))


def _columns(gradients: Array | None, spec: StackSpec) -> Sequence[Array | None]:
    """Split the gradient of concatenated outputs into one array for each direction."""
    if gradients is None or spec.directions == 1:
        return [gradients] * spec.directions
    return [plain(columns) for columns in np.split(gradients, spec.directions, axis=-1)]
