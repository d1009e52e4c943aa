"""ONNX networks by onnxruntime, on any of its providers."""

from __future__ import annotations

from bundle.job import Job, NetworkFile
from bundle.runners import Runner

# A session releases Python's lock while it computes.
KEEPS_GIL = False


def load(job: Job, network: NetworkFile) -> Runner:
    """Loads a network into a session.

    The job's `runner` may hold `provider` (CPUExecutionProvider by default) and, in `options`,
    `session` (onnxruntime's session configuration entries) and `provider` (options of the
    provider): both are mappings.

    Raises:
        BundleError: onnxruntime or the provider is not available, or the network cannot be loaded
            or violates the contract.
    """
    from bundle.runners.onnxruntime.session import OnnxruntimeRunner

    return OnnxruntimeRunner(job, network)


def version() -> str:
    """The version of the installed runtime.

    Raises:
        ImportError: It is not installed.
    """
    import onnxruntime

    return str(onnxruntime.__version__)
