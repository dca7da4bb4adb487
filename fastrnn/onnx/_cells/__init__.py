"""ONNX's operators RNN, GRU and LSTM: attributes, the exact semantics in NumPy, and the same on the kernels."""
