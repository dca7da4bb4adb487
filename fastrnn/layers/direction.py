"""One layer in one direction: its parameters, their prepared form, and one run of the kernels forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks, init
from ..backends.protocol import Backend, CellSpec, Forward, Params
from ..changes import CHANGES
from ..functional import USED_TAPE, check_params
from .base import Layer
from .parameter import Parameter
from .prepared import Prepared, renewed

Array = NDArray[Any]

# From the names in Params to torch's, in torch's order; weight_ch is the peephole's, which torch lacks.
TORCH_NAMES = {
    "W": "weight_ih",
    "R": "weight_hh",
    "b_ih": "bias_ih",
    "b_hh": "bias_hh",
    "projection": "weight_hr",
    "peephole": "weight_ch",
}


@dataclass(slots=True)
class DirectionTape:
    """What one run leaves for its backward, which uses up the ``content``: the backend's tape."""

    ready: Prepared
    content: Any

    def require_good(self) -> None:
        """Raise RuntimeError if the tape has been used, or if a parameter has changed since the forward pass."""
        self.ready.snapshot.require_unchanged()
        if self.content is None:
            raise RuntimeError(USED_TAPE)


class Direction:
    """One layer in one direction of a recurrent layer, its *owner*, whose attributes hold the parameters.

    The prepared form is kept until a parameter or the backend changes. Two threads that find it out of date at once
    both make it, and either result serves.
    """

    def __init__(self, spec: CellSpec, names: dict[str, str], reverse: bool = False) -> None:
        """``names`` maps each field of Params that the cell has to the owner's attribute."""
        self.spec = spec
        self.names = names
        self.reverse = reverse
        self._parameters_of = attrgetter(*names.values())
        shapes, dtype = spec.shapes("b_ih" in names), np.dtype(spec.dtype)
        self._expected = [(shapes[field], dtype) for field in names]
        self._prepared: Prepared | None = None
        self.stack: tuple[list[Any], Any] | None = None  # of the first layer: see fastrnn.layers.stack

    def __reduce__(self) -> tuple[Any, ...]:
        return Direction, (self.spec, self.names, self.reverse)  # a copy of a layer prepares its own weights

    def parameters(self, owner: Layer) -> tuple[Parameter, ...]:
        """The parameters, in torch's order."""
        found: tuple[Parameter, ...] = self._parameters_of(owner)
        return found

    def prepared(self, owner: Layer) -> Prepared:
        """The parameters in the backend's form, made anew if need be. Raises ValueError if one has a wrong shape."""
        ready = self._prepared
        if ready is None or ready.snapshot.seen is not CHANGES.latest:
            parameters = self.parameters(owner)
            self._prepared = ready = renewed(ready, owner.backend, parameters, lambda b: self._prepare(b, parameters))
        return ready

    def _prepare(self, backend: Backend, parameters: tuple[Parameter, ...]) -> Any:
        return backend.prepare(self.spec, self.kernel_params(backend, parameters))

    def kernel_params(self, backend: Backend, parameters: tuple[Parameter, ...]) -> Params:
        """What the kernels run on: :meth:`params`, or others in their place."""
        return self.params(parameters)

    def params(self, parameters: tuple[Parameter, ...]) -> Params:
        """The values of :meth:`parameters`. Raises ValueError if one has a wrong shape."""
        params = Params(**{field: parameter.values for field, parameter in zip(self.names, parameters, strict=True)})
        if [(p.shape, p.dtype) for p in parameters] != self._expected:
            check_params(self.spec, params)  # says which one has been replaced by another kind
        return params

    def forward(
        self,
        owner: Layer,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: Array | None,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> tuple[Forward, DirectionTape | None]:
        """Run over ``x [T,B,I]`` or ids ``[T,B]`` from ``h0 [B,Y]``, ``c0 [B,H]`` (None is zeros); all checked."""
        ready = self.prepared(owner)
        out = ready.backend.forward(
            ready.content, x, h0, c0, lengths, reverse=self.reverse, keep_tape=keep_tape, cell_states=cell_states
        )
        return out, DirectionTape(ready, out.tape) if keep_tape else None

    def backward(
        self,
        owner: Layer,
        tape: DirectionTape,
        dy: Array | None,
        dh_n: Array | None,
        dc_n: Array | None,
        dc: Array | None,
        need_dx: bool = True,
    ) -> tuple[Array | None, Array, Array | None]:
        """dx, dh0, dc0 from checked gradients and a good tape; adds into the parameters' own."""
        content, tape.content = tape.content, None  # its memory is free as soon as backward is done
        backend, grads = tape.ready.backend, self.gradients(owner)
        results = backend.backward(content, dy, dh_n, dc_n, dc, grads, need_dx=need_dx)
        self.use_gradients(owner, backend, grads)
        return results

    def gradients(self, owner: Layer) -> Params:
        """What the kernels add into: the parameters' own gradients."""
        return Params(**{field: p.gradient() for field, p in zip(self.names, self.parameters(owner), strict=True)})

    def use_gradients(self, owner: Layer, backend: Backend, grads: Params) -> None:
        """What is to be done when they have."""


def prepared_alike(owner: Layer, directions: Sequence[Direction]) -> list[Prepared]:
    """Each one's parameters in the form of one backend with one choice of settings."""
    while True:
        ready = [direction.prepared(owner) for direction in directions]
        first = ready[0]
        if all(r.backend is first.backend and r.settings == first.settings for r in ready):
            return ready  # else another thread chose another one in between


def forward_both(
    owner: Layer,
    directions: Sequence[Direction],
    x: Array,
    h0: Array | None,
    c0: Array | None,
    lengths: Array | None,
    keep_tape: bool = False,
    cell_states: bool = False,
) -> tuple[Forward, list[DirectionTape]]:
    """Run both directions of a layer, from ``h0 [2,B,Y]``, ``c0 [2,B,H]``; the rest as :meth:`Direction.forward`."""
    ready = prepared_alike(owner, directions)
    out = ready[0].backend.forward_both(
        [r.content for r in ready], x, h0, c0, lengths, keep_tape=keep_tape, cell_states=cell_states
    )
    return out, list(map(DirectionTape, ready, out.tape)) if keep_tape else []


def backward_both(
    owner: Layer,
    directions: Sequence[Direction],
    tapes: Sequence[DirectionTape],
    dy: Array | None,
    dh_n: Array | None,
    dc_n: Array | None,
    dc: Array | None,
    need_dx: bool = True,
) -> tuple[Array | None, Array, Array | None]:
    """dx, dh0, dc0 of both directions, as :meth:`Direction.backward` gives them of one."""
    backend, contents = tapes[0].ready.backend, [tape.content for tape in tapes]
    for tape in tapes:
        tape.content = None
    grads = [direction.gradients(owner) for direction in directions]
    results = backend.backward_both(contents, dy, dh_n, dc_n, dc, grads, need_dx=need_dx)
    for direction, g in zip(directions, grads, strict=True):
        direction.use_gradients(owner, backend, g)
    return results


def make_direction(
    owner: Layer,
    spec: CellSpec,
    bias: bool,
    suffix: str,
    rng: np.random.Generator,
    *,
    reverse: bool = False,
    forget_bias: float | None = None,
) -> Direction:
    """Give the owner the parameters of one layer and direction, drawn from U(-1/sqrt(H), 1/sqrt(H)) as in torch.

    ``forget_bias`` sets the LSTM's forget gate's bias: b_ih's part is the value and b_hh's part zero. Raises
    TypeError or ValueError for a bad one.
    """
    if forget_bias is not None:
        forget_bias = checks.number("forget_bias", forget_bias, -float("inf"))
        if not bias:
            raise ValueError("forget_bias needs bias=True: without biases there is nothing to set")
    shapes = spec.shapes(bias)
    names = {field: name + suffix for field, name in TORCH_NAMES.items() if field in shapes}
    H = spec.hidden_size
    for field, name in names.items():
        setattr(owner, name, Parameter(name, init.uniform(rng, shapes[field], H**-0.5, spec.dtype)))
    if forget_bias is not None:
        getattr(owner, names["b_ih"]).writable()[H : 2 * H] = forget_bias
        getattr(owner, names["b_hh"]).writable()[H : 2 * H] = 0
    return Direction(spec, names, reverse)


# What repr leaves out, in the order in which it shows the rest: torch's.
_DEFAULTS: dict[str, Any] = {
    "proj_size": 0,
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
    "merge": "concat",
    "input_dropout": 0.0,
    "recurrent_dropout": 0.0,
    "nonlinearity": "tanh",
    "reset_after": True,
    "reset_gate": True,
    "peephole": False,
}


def shown_options(input_size: int, hidden_size: int, options: dict[str, Any]) -> str:
    """The inside of a recurrent layer's repr, as torch's: the sizes, then the options that are not the default."""
    other = [name for name, default in _DEFAULTS.items() if options.get(name, default) != default]
    return ", ".join([str(input_size), str(hidden_size), *(f"{name}={options[name]!r}" for name in other)])
