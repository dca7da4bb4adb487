"""ONNX's operators, one small function each; importing this package fills the table."""

from . import (  # noqa: F401
    arithmetic,
    comparison,
    control,
    convolution,
    indexing,
    normalization,
    pointwise,
    pooling,
    products,
    quantized,
    recurrent,
    reductions,
    shapes,
)  # fmt: skip
from .table import TABLE as TABLE
