"""One layer in one direction: its parameters, their prepared form, and one run of the kernels forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import checks, init
from ..backends.protocol import Backend, CellSpec, Forward, Params
from ..functional import Tape, check_params, run_backward, run_forward
from .base import Layer
from .parameter import Parameter, Snapshot
from .prepared import Prepared, current

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


class Ready(NamedTuple):
    """The checked parameters, and the backend's form of them: the content of a direction's :class:`Prepared`."""

    params: Params
    prepared: Any


@dataclass(slots=True)
class DirectionTape:
    """What one run leaves for its backward, which uses it up."""

    kernel: Tape
    snapshot: Snapshot


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
        self._prepared: Prepared | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Direction, (self.spec, self.names, self.reverse)  # a copy of a layer prepares its own weights

    def parameters(self, owner: Layer) -> tuple[Parameter, ...]:
        """The parameters, in torch's order."""
        found: tuple[Parameter, ...] = self._parameters_of(owner)
        return found

    def prepared(self, owner: Layer, backend: Backend) -> Prepared:
        """The parameters in the backend's form, made anew if need be. Raises ValueError if one has a wrong shape."""
        parameters = self.parameters(owner)

        def make() -> Ready:
            arrays = {field: parameter.data for field, parameter in zip(self.names, parameters, strict=True)}
            params = check_params(self.spec, Params(**arrays))
            return Ready(params, backend.prepare(self.spec, params))

        self._prepared = ready = current(self._prepared, backend, parameters, make)
        return ready

    def forward(
        self,
        owner: Layer,
        backend: Backend,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: object,
        *,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> tuple[Forward, DirectionTape | None]:
        """Run over ``x [T,B,I]`` or ids ``[T,B]`` from ``h0 [B,Y]``, ``c0 [B,H]`` (None is zeros)."""
        ready = self.prepared(owner, backend)
        options = {"reverse": self.reverse, "keep_tape": keep_tape, "cell_states": cell_states}
        out = run_forward(backend, self.spec, ready.content.prepared, x, h0, c0, lengths, **options)
        if not keep_tape:
            return out, None
        T, B = out.y.shape[:2]
        return out, DirectionTape(Tape(backend, self.spec, ready.content.params, T, B, out.tape), ready.snapshot)

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
        """dx, dh0, dc0; adds into the parameters' gradients, which must be unchanged since (``tape.snapshot``)."""
        gradients = {field: p.gradient() for field, p in zip(self.names, self.parameters(owner), strict=True)}
        return run_backward(tape.kernel, dy, dh_n, dc_n, dc, Params(**gradients), need_dx=need_dx)


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
    "nonlinearity": "tanh",
    "reset_after": True,
    "reset_gate": True,
    "peephole": False,
}


def shown_options(input_size: int, hidden_size: int, options: dict[str, Any]) -> str:
    """The inside of a recurrent layer's repr, as torch's: the sizes, then the options that are not the default."""
    other = [name for name, default in _DEFAULTS.items() if options.get(name, default) != default]
    return ", ".join([str(input_size), str(hidden_size), *(f"{name}={options[name]!r}" for name in other)])
