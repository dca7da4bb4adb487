"""ONNX graphs as trainable models of this package's layers."""
