"""ONNX networks by OpenVINO, in float32, on one device."""

from __future__ import annotations

from bundle.job import Job, NetworkFile
from bundle.runners import Runner

# A request releases Python's lock while it computes.
KEEPS_GIL = False


def load(job: Job, network: NetworkFile) -> Runner:
    """Compiles a network for a device.

    The job's `runner` may hold `provider` (the device: CPU by default, GPU, GPU.1) and, in
    `options`, `properties`: a mapping of OpenVINO's own properties.

    Raises:
        BundleError: OpenVINO or the device is not available, or the network cannot be loaded or
            violates the contract.
    """
    from bundle.runners.openvino.session import OpenvinoRunner

    return OpenvinoRunner(job, network)


def version() -> str:
    """The version of the installed runtime.

    Raises:
        ImportError: It is not installed.
    """
    from bundle.runners.openvino.quiet import silence

    silence()
    import openvino

    return str(openvino.__version__).split("-")[0]
