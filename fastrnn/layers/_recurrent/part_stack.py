"""Stacks of parts that a backend runs at once, and runs of layer after layer with dropout or merging in between.

All arrays are time-major, batched and validated. ``L`` layers, ``D`` directions, ``Y`` the output size of one direction;
states are ``[L*D, B, ...]``, layer by layer, forward before reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ..._core import gradient_events
from ..._core.arrays import Array
from ..._core.cache import VERSION, Cached
from ...backends.base import Backend
from ...backends.structs import Gradients, Inputs, OutputGradients, Outputs, StackSpec
from ...functional import USED_TAPE
from ..dropout import Backward, dropout_forward
from .merge_and_dropout import MergeAndDropout, merged
from .part import Part
from .prepared import Prepared, prepared


@dataclass(slots=True)
class StackTape:
    """Tape of one run; ``content`` is the backend's tape, or None after backward has used it."""

    ready: Prepared
    content: Any

    def require_usable(self) -> None:
        """Raise RuntimeError if the tape has been used, or if a parameter has changed since the forward pass."""
        self.ready.snapshot.require_unchanged()
        if self.content is None:
            raise RuntimeError(USED_TAPE)


class PartStack:
    """Parts that a backend runs as one stack. The prepared form is cached until a parameter or the backend changes."""

    def __init__(self, spec: StackSpec, parts: Sequence[Part]) -> None:
        self.spec, self.parts = spec, list(parts)
        self._prepared: Cached | None = None
        self._layers: list[PartStack] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return PartStack, (self.spec, self.parts)  # a copy of a layer prepares its own weights

    def prepared(self, backend: str | None) -> Prepared:
        """Return the weights in the backend's form, from the cache if valid. Raises ValueError for a wrong shape."""
        current = self._prepared
        if current is None or current.version is not VERSION.latest:
            parameters = tuple(chain.from_iterable(part.all_parameters() for part in self.parts))
            self._prepared = current = prepared(current, backend, parameters, self._prepare)
        ready: Prepared = current.value
        return ready

    def _prepare(self, backend: Backend) -> Any:
        return backend.prepare(self.spec, [part.kernel_weights(backend) for part in self.parts])

    def infer(self, backend: str | None, inputs: Inputs, cell_states: bool = False) -> Outputs:
        """Run a forward pass without a tape."""
        ready = self.prepared(backend)
        if cell_states or inputs.lengths is not None:
            return ready.backend.forward(ready.content, inputs, cell_states=cell_states)
        return Outputs(*ready.run(self.spec, inputs.x.shape)(inputs.x, inputs.h0, inputs.c0))

    def train(self, backend: str | None, inputs: Inputs, cell_states: bool = False) -> tuple[Outputs, StackTape]:
        """Run a forward pass that returns a tape."""
        ready = self.prepared(backend)
        out = ready.backend.forward(ready.content, inputs, training=True, cell_states=cell_states)
        return out, StackTape(ready, out.tape)

    def backward(self, tape: StackTape, dout: OutputGradients, need_dx: bool = True) -> Gradients:
        """Return the inputs' gradients and add into the parameters'; the tape must be usable (``require_usable``)."""
        content, tape.content = tape.content, None  # its memory is free as soon as backward is done
        backend, gradients = tape.ready.backend, [part.gradients() for part in self.parts]
        found = backend.backward(content, dout, gradients, need_dx=need_dx)
        for part, own in zip(self.parts, gradients, strict=True):
            part.use_gradients(backend, own)
            gradient_events.completed(part.all_parameters())
        return found

    def map_parts(self, change: Callable[[Part], Part]) -> PartStack:
        """Return a stack with each part replaced by ``change(part)``."""
        return PartStack(self.spec, [change(part) for part in self.parts])

    def layers(self) -> list[PartStack]:
        """Return each layer as a stack of its own."""
        spec, D = self.spec, self.spec.directions
        if spec.layers == 1:
            return [self]
        if self._layers is None:
            rows = [self.parts[i : i + D] for i in range(0, spec.parts, D)]
            self._layers = [PartStack(replace(spec, cell=row[0].spec, layers=1), row) for row in rows]
        return self._layers


class LayerTape(NamedTuple):
    """Tape of one layer, and the backwards of the operations before and after it."""

    tape: StackTape
    before: Sequence[Backward]
    after: Sequence[Backward]


def layers_forward(
    layers: Sequence[PartStack],
    backend: str | None,
    inputs: Inputs,
    options: MergeAndDropout,
    rng: np.random.Generator | None,
    *,
    training: bool = False,
    cell_states: bool = False,
) -> tuple[Outputs, list[LayerTape]]:
    """Run layer after layer, with the dropout and merging that ``options`` define.

    Returns ``y [T,B,D*Y]`` (``[T,B,Y]`` if merged) and the other outputs of a stack.
    """
    outs: list[Outputs] = []
    tapes: list[LayerTape] = []
    x, D = inputs.x, layers[0].spec.directions
    for i, layer in enumerate(layers):
        last = i == len(layers) - 1
        x, before = _dropout(x, options.input_dropout, rng, one_mask=True)
        h0, c0 = (None if s is None else s[i * D : (i + 1) * D] for s in (inputs.h0, inputs.c0))
        own = Inputs(x, h0, c0, inputs.lengths)
        if training:
            out, tape = layer.train(backend, own, cell_states and last)
        else:
            out, tape = layer.infer(backend, own, cell_states and last), None
        x, after = out.y, []
        if options.merge != "concat":
            x, unmerge = merged(x, options.merge)
            after.append(unmerge)
        x, undo = _dropout(x, 0.0 if last else options.dropout, rng)
        outs.append(out)
        if tape is not None:
            tapes.append(LayerTape(tape, before, after + undo))
    h_n = _joined([out.h_n for out in outs])
    assert h_n is not None
    return Outputs(x, h_n, _joined([out.c_n for out in outs]), outs[-1].c), tapes


def layers_backward(
    layers: Sequence[PartStack], tapes: Sequence[LayerTape], dout: OutputGradients, need_dx: bool = True
) -> Gradients:
    """Return the inputs' gradients of :func:`layers_forward`; adds into the parameters' gradients."""
    D, dy, dc = layers[0].spec.directions, dout.dy, dout.dc
    found: list[Gradients] = []
    for i, (layer, (tape, before, after)) in reversed(list(enumerate(zip(layers, tapes, strict=True)))):
        dh_n, dc_n = (None if s is None else s[i * D : (i + 1) * D] for s in (dout.dh_n, dout.dc_n))
        own = layer.backward(tape, OutputGradients(_undone(after, dy), dh_n, dc_n, dc), need_dx or i > 0)
        dy, dc = _undone(before, own.dx), None
        found.insert(0, own)
    dh0 = _joined([own.dh0 for own in found])
    assert dh0 is not None
    return Gradients(dy, dh0, _joined([own.dc0 for own in found]))


def _dropout(x: Array, p: float, rng: np.random.Generator | None, one_mask: bool = False) -> tuple[Array, list[Backward]]:
    if not p:
        return x, []
    assert rng is not None
    x, undo = dropout_forward(x, p, rng, one_mask=one_mask)
    return x, [undo]


def _undone(backwards: Sequence[Backward], gradient: Array | None) -> Array | None:
    for backward in reversed(backwards):
        gradient = None if gradient is None else backward(gradient)
    return gradient


def _joined(states: Sequence[Array | None]) -> Array | None:
    """Concatenate the layers' states ``[D, B, ...]``, or return None if the cell has no such state."""
    parts = [state for state in states if state is not None]
    return np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else None
