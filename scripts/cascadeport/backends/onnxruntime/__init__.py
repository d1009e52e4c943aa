"""onnxruntime: processors, and NVIDIA GPUs by its CUDA provider."""

from cascadeport.backends.onnxruntime.backend import OnnxRuntime

BACKEND = OnnxRuntime
