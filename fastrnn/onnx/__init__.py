"""ONNX models on this package's kernels, and this package's models as ONNX files.

``load`` runs a file without PyTorch or ONNX Runtime, ``save`` writes one. Both need the package ``onnx`` (``pip install
fastrnn[onnx]``), and running a loaded model does not.
"""

from ._export.saving import save
from ._model import OnnxModel, load

__all__ = ["OnnxModel", "load", "save"]
