"""A part whose matrices are stored in fewer bytes, for inference."""

from __future__ import annotations

from ..._core.compressed_parameter import CompressedParameter, compress
from ..._core.parameter import Parameter
from ...backends.base import Backend
from ...backends.structs import CompressedWeights, Weights
from .part import TORCH_NAMES, Part

MATRICES = ("W", "R", "projection")


class CompressedPart(Part):
    """A part's matrices in a compressed form, and copies of its other parameters.

    Scales are parameters too: R's are the field ``R_scales`` and, in layer 0, the parameter ``weight_hh_scales_l0``.
    """

    def __init__(self, part: Part, form: str, suffix: str) -> None:
        self.spec = part.spec
        self.parameters = {}
        for field, parameter in part.parameters.items():
            if field in MATRICES:
                scales = f"{field}_scales"
                stored = compress(parameter, form, TORCH_NAMES[scales] + suffix)
                self.parameters |= dict(zip((field, scales), stored, strict=False))
            else:
                self.parameters[field] = Parameter(parameter.name, parameter.values.copy())

    def kernel_weights(self, backend: Backend) -> Weights:
        """Return codes and scales if the backend takes them, else the expanded values."""
        if not backend.takes_compressed:
            return self.weights()
        codes = {f: p.codes if isinstance(p, CompressedParameter) else p.values for f, p in self.parameters.items()}
        return CompressedWeights(**codes)

    def weights(self) -> Weights:
        """Return the expanded values."""
        return Weights(**{f: p.values for f, p in self.parameters.items() if not f.endswith("_scales")})
