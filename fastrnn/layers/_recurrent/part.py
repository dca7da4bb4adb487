"""One layer in one direction: its parameters, and the weights that a backend receives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import backends, init
from ..._core import checks
from ..._core.parameter import GradientLock, Parameter
from ..._core.precision import optional_precision
from ..._stack_validation import check_weights
from ...backends.base import Backend
from ...backends.structs import CellSpec, Weights
from ..base import Layer

# Torch's names of the fields of Weights, in torch's order. Torch has no peephole and no scales.
TORCH_NAMES = {
    "W": "weight_ih",
    "R": "weight_hh",
    "b_ih": "bias_ih",
    "b_hh": "bias_hh",
    "projection": "weight_hr",
    "peephole": "weight_ch",
    "W_scales": "weight_ih_scales",
    "R_scales": "weight_hh_scales",
    "projection_scales": "weight_hr_scales",
}


class Part:
    """One layer in one direction; ``parameters`` maps fields of :class:`Weights` to parameters, in torch's order."""

    def __init__(self, spec: CellSpec, parameters: dict[str, Parameter]) -> None:
        self.spec = spec
        self.parameters = parameters  # shared with the parts that replace this one
        shapes, dtype = spec.shapes("b_ih" in parameters), np.dtype(spec.dtype)
        self._expected = [(shapes[field], dtype) for field in parameters]

    @classmethod
    def drawn(
        cls, spec: CellSpec, bias: bool, suffix: str, rng: np.random.Generator, forget_bias: float | None = None
    ) -> Part:
        """Return a part with parameters drawn from U(-1/sqrt(H), 1/sqrt(H)), as in torch.

        Their names are torch's with ``suffix`` appended. ``forget_bias`` sets the bias of the LSTM's forget gate: b_ih's
        part to the value and b_hh's to zero. Raises TypeError or ValueError for an invalid ``forget_bias``.
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
        """Return every parameter that the kernels' weights depend on."""
        return tuple(self.parameters.values())

    def kernel_weights(self, backend: Backend) -> Weights:
        """Return the weights for the kernels: the parameters' values, or a subclass's replacements."""
        return self.weights()

    def weights(self) -> Weights:
        """Return the parameters' values. Raises ValueError if one has a wrong shape."""
        parameters = self.parameters
        weights = Weights(**{field: parameter.values for field, parameter in parameters.items()})
        if [(p.shape, p.dtype) for p in parameters.values()] != self._expected:
            check_weights(self.spec, weights)  # names the parameter that does not fit
        return weights

    def gradients(self) -> Weights:
        """Return the arrays that the kernels add into: the parameters' gradients, or a subclass's replacements."""
        return Weights(**{field: parameter.gradient() for field, parameter in self.parameters.items()})

    def use_gradients(self, backend: Backend, gradients: Weights) -> None:
        """Propagate gradients of a subclass's replacements to the parameters; this class has none."""


class PartsLayer(Layer):
    """Base class of layers whose parameters belong to parts and have torch's names, as ``layer.weight_ih_l0``.

    Setting such an attribute to another Parameter replaces the part's parameter, so two layers can share one.
    """

    cell = ""
    _places: Mapping[str, tuple[Part, str]] = {}  # by name: the part, and the field of Weights

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        dtype: Any,
        backend: str | None,
        precision: str | None,
        cell_options: Mapping[str, Any],
    ) -> None:
        """Validate and store the arguments that layers and cells share; ``cell_options`` are fields of CellSpec."""
        self.input_size = checks.positive_int("input_size", input_size)
        self.hidden_size = checks.positive_int("hidden_size", hidden_size)
        self.bias = checks.flag("bias", bias)
        self.dtype = checks.float_dtype("dtype", dtype)
        self._dtype = np.dtype(self.dtype)  # comparing dtype objects takes half as long as with a name
        self.backend = backend
        if backend is not None:
            backends.load(backend)
        self.precision = optional_precision(precision)
        self._cell_options = dict(cell_options)
        self._lock = GradientLock()

    def _cell_spec(self) -> CellSpec:
        return CellSpec(self.cell, self.input_size, self.hidden_size, self.dtype, **self._cell_options)

    def _name_parts(self, parts: Mapping[str, Part]) -> None:
        """Set an attribute for each part's parameters, with torch's name and the part's suffix.

        A ``__getattr__`` instead would double the time of each access to any attribute.
        """
        self._places = {
            TORCH_NAMES[field] + suffix: (part, field) for suffix, part in parts.items() for field in part.parameters
        }
        for name, (part, field) in self._places.items():
            setattr(self, name, part.parameters[field])

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._places:
            part, field = self._places[name]
            part.parameters[field].check_replacement(name, value)
            part.parameters[field] = value  # type: ignore[assignment]
        elif name in _PER_CALL:
            value = checks.number(name, value, 0, 1)
        elif name in _FIXED and value != (before := vars(self).get(name, value)):
            raise AttributeError(f"{name} is {before!r} and cannot become {value!r}: make a new layer")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._places:
            raise AttributeError(f"{name} cannot be deleted: the layer computes with it")
        super().__delattr__(name)


# Defaults, which repr omits, in torch's order of options.
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
    "compression": None,
}
_PER_CALL = frozenset(("dropout", "input_dropout", "recurrent_dropout"))  # attributes that each call reads
# Attributes that describe the arrays and plans that a layer was made with.
_FIXED = frozenset(("input_size", "hidden_size", "dtype", "precision", *_DEFAULTS)) - _PER_CALL


def shown_options(input_size: int, hidden_size: int, options: dict[str, Any]) -> str:
    """Return the arguments in a recurrent layer's repr: the sizes, then the options that are not the default."""
    other = [name for name, default in _DEFAULTS.items() if options.get(name, default) != default]
    return ", ".join([str(input_size), str(hidden_size), *(f"{name}={options[name]!r}" for name in other)])
