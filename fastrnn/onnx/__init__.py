"""ONNX models on this package's kernels, and this package's models as ONNX files.

``load`` runs a file without PyTorch or ONNX Runtime, ``save`` writes one, and ``from_onnx`` makes a trainable model of one.
They need the package ``onnx`` (``pip install fastrnn[onnx]``), and running a loaded model does not.
"""

from ._export.saving import save
from ._import.reading import from_onnx
from ._model import OnnxModel, load

__all__ = ["OnnxModel", "from_onnx", "load", "save"]
