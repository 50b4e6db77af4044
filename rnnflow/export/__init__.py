"""The classifier as an ONNX file, and whether it agrees with PyTorch."""
