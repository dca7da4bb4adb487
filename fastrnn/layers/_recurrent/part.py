"""One layer in one direction: its parameters, and what a backend is given of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import init
from ..._core import checks
from ..._core.parameter import Parameter
from ..._stack_validation import check_weights
from ...backends.base import Backend
from ...backends.structs import CellSpec, Weights
from ..base import Layer

# From the fields of Weights to torch's names, in torch's order; weight_ch is the peephole's, which torch lacks.
TORCH_NAMES = {
    "W": "weight_ih",
    "R": "weight_hh",
    "b_ih": "bias_ih",
    "b_hh": "bias_hh",
    "projection": "weight_hr",
    "peephole": "weight_ch",
}


class Part:
    """One layer in one direction; ``parameters`` by the fields of :class:`Weights`, in torch's order."""

    def __init__(self, spec: CellSpec, parameters: dict[str, Parameter]) -> None:
        self.spec = spec
        self.parameters = parameters  # shared with the parts that stand in for this one
        shapes, dtype = spec.shapes("b_ih" in parameters), np.dtype(spec.dtype)
        self._expected = [(shapes[field], dtype) for field in parameters]

    @classmethod
    def drawn(
        cls, spec: CellSpec, bias: bool, suffix: str, rng: np.random.Generator, forget_bias: float | None = None
    ) -> Part:
        """Return a part whose parameters are drawn from U(-1/sqrt(H), 1/sqrt(H)), as in torch.

        Their names are torch's and end in ``suffix``. ``forget_bias`` sets the bias of the LSTM's forget gate: b_ih's part
        is the value and b_hh's part zero. Raises TypeError or ValueError for a bad one.
        """
        if forget_bias is not None:
            forget_bias = checks.number("forget_bias", forget_bias, -float("inf"))
            if not bias:
                raise ValueError("forget_bias needs bias=True: without biases there is nothing to set")
        shapes, H = spec.shapes(bias), spec.hidden_size
        fields = [field for field in TORCH_NAMES if field in shapes]
        arrays = {field: init.uniform(rng, shapes[field], H**-0.5, spec.dtype) for field in fields}
        if forget_bias is not None:
            arrays["b_ih"][H : 2 * H] = forget_bias
            arrays["b_hh"][H : 2 * H] = 0
        return cls(spec, {field: Parameter(TORCH_NAMES[field] + suffix, array) for field, array in arrays.items()})

    def all_parameters(self) -> tuple[Parameter, ...]:
        """Return every parameter that the kernels' weights follow from."""
        return tuple(self.parameters.values())

    def kernel_weights(self, backend: Backend) -> Weights:
        """Return what the kernels run on: the parameters' values, or others in their place."""
        return self.weights()

    def weights(self) -> Weights:
        """Return the parameters' values. Raises ValueError if one has a wrong shape."""
        parameters = self.parameters
        weights = Weights(**{field: parameter.values for field, parameter in parameters.items()})
        if [(p.shape, p.dtype) for p in parameters.values()] != self._expected:
            check_weights(self.spec, weights)  # says which one has been replaced by another kind
        return weights

    def gradients(self) -> Weights:
        """Return what the kernels add into: the parameters' gradients, or arrays in their place."""
        return Weights(**{field: parameter.gradient() for field, parameter in self.parameters.items()})

    def use_gradients(self, backend: Backend, gradients: Weights) -> None:
        """Pass on what the kernels added into arrays in the place of the parameters' gradients; here there are none."""


class PartsLayer(Layer):
    """A layer whose parameters are those of its parts, under torch's names: ``layer.weight_ih_l0``.

    Setting such an attribute to another Parameter replaces the part's, as two layers do that share one.
    """

    _places: Mapping[str, tuple[Part, str]] = {}  # by name: the part, and the field of Weights

    def _name_parts(self, parts: Mapping[str, Part]) -> None:
        """Give the parameters of each part torch's names with the part's suffix.

        They are attributes of their own: with a ``__getattr__`` each access to any attribute would take twice as long.
        """
        self._places = {
            TORCH_NAMES[field] + suffix: (part, field) for suffix, part in parts.items() for field in part.parameters
        }
        for name, (part, field) in self._places.items():
            setattr(self, name, part.parameters[field])

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._places:
            if not isinstance(value, Parameter):
                raise TypeError(f"{name} is a parameter: change its values with .{name}.assign(array)")
            part, field = self._places[name]
            part.parameters[field] = value
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._places:
            raise AttributeError(f"{name} cannot be deleted: the layer computes with it")
        super().__delattr__(name)


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
    """Return the inside of a recurrent layer's repr, as torch's: the sizes, then the options that are not the default."""
    other = [name for name, default in _DEFAULTS.items() if options.get(name, default) != default]
    return ", ".join([str(input_size), str(hidden_size), *(f"{name}={options[name]!r}" for name in other)])
