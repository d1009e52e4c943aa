"""Shared code of the stand-ins for CANN. Python 3.9, numpy, onnx, onnxruntime."""

SIMULATED = True
