"""What the stand-ins for CANN share. Python 3.9, numpy, onnx, onnxruntime."""

SIMULATED = True
VERSION = "5.1.RC2"
