"""ONNX models on this package's kernels: ``load`` runs a file, without PyTorch or ONNX Runtime.

Reading files needs the package ``onnx`` (``pip install fastrnn[onnx]``); running them does not.
"""

from ._model import OnnxModel, load

__all__ = ["OnnxModel", "load"]
