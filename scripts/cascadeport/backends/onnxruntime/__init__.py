"""onnxruntime: CPUs, and NVIDIA GPUs through its CUDA provider."""

from cascadeport.backends.onnxruntime.backend import OnnxRuntime

BACKEND = OnnxRuntime
