"""Models and layers of this package as ONNX files."""
