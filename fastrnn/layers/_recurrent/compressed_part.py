"""A part whose matrices are stored in fewer bytes, for inference."""

from __future__ import annotations

import numpy as np

from ..._core.compressed_parameter import CompressedParameter, blank, compress
from ..._core.parameter import Parameter
from ...backends.base import Backend
from ...backends.structs import CellSpec, CompressedWeights, Weights
from .part import TORCH_NAMES, Part

MATRICES = ("W", "R", "projection")


class CompressedPart(Part):
    """A part whose matrices are in a compressed form.

    Scales are parameters too: R's are the field ``R_scales`` and, in layer 0, the parameter ``weight_hh_scales_l0``.
    """

    def __init__(self, spec: CellSpec, parameters: dict[str, Parameter]) -> None:
        self.spec, self.parameters = spec, parameters

    @classmethod
    def blank(cls, spec: CellSpec, bias: bool, form: str, suffix: str) -> CompressedPart:
        """Return a part of zeros, to be filled from a file or by :meth:`fill`; names end in ``suffix``."""
        shapes = spec.shapes(bias)
        parameters: dict[str, Parameter] = {}
        for field in (field for field in TORCH_NAMES if field in shapes):
            name, shape, scales = TORCH_NAMES[field] + suffix, shapes[field], f"{field}_scales"
            if field in MATRICES:
                stored = blank(name, shape, form, TORCH_NAMES[scales] + suffix)
                parameters |= dict(zip((field, scales), stored, strict=False))
            else:
                parameters[field] = Parameter(name, np.zeros(shape, spec.dtype))
        return cls(spec, parameters)

    def fill(self, part: Part, form: str) -> None:
        """Compress the values of a part of the same architecture into this one. Raises ValueError as compress() does."""
        for field, parameter in part.parameters.items():
            scales = f"{field}_scales"
            stored = compress(parameter, form, scales) if field in MATRICES else [parameter]
            for own, value in zip((field, scales), stored, strict=False):
                self.parameters[own].assign(value.state())

    def kernel_weights(self, backend: Backend) -> Weights:
        """Return codes and scales if the backend takes them, else the expanded values."""
        if not backend.takes_compressed:
            return self.weights()
        codes = {f: p.codes if isinstance(p, CompressedParameter) else p.values for f, p in self.parameters.items()}
        return CompressedWeights(**codes)

    def weights(self) -> Weights:
        """Return the expanded values."""
        return Weights(**{f: p.values for f, p in self.parameters.items() if not f.endswith("_scales")})
