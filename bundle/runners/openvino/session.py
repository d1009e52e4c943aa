"""A network compiled by OpenVINO for the requested device, in float32.

By default OpenVINO computes in bfloat16 where a processor has it, and in float16 on a GPU.
"""

from __future__ import annotations

import copy
import re
import time
from typing import Any, Dict, List, Sequence

import numpy as np

from bundle.device import GPU, NPU, processor, proof
from bundle.errors import BundleError
from bundle.job import Job, NetworkFile
from bundle.runners import EXECUTION, EXECUTION_AND_COPIES, Outputs, Runner, by_picture
from bundle.runners.contract import TensorInfo, check_contract, output_names
from bundle.runners.openvino.quiet import silence

silence()
try:
    import openvino
    from openvino.frontend import FrontEndManager

    from bundle.runners.openvino import operators
except ImportError as failure:
    raise BundleError(
        "openvino cannot be imported: {}.".format(failure),
        "runner openvino",
        "Install openvino 2025.0 or later into this Python.",
    ) from None

_VERSION = openvino.__version__.split("-")[0]
_PRECISION = "INFERENCE_PRECISION_HINT"
_THREADS = "INFERENCE_NUM_THREADS"
_STREAMS = "NUM_STREAMS"
_LAYERS = ("Convolution", "DeformableConvolution", "FullyConnected")
_TYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64"}
_TYPES.update({"i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64"})
_TYPES.update({"u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64"})


class OpenvinoRunner(Runner):
    """A network compiled for one device, and one request to run it."""

    def __init__(self, job: Job, network: NetworkFile) -> None:
        self._path = network.path
        self._device = job.runner.provider or "CPU"
        core = openvino.Core()
        _check_device(core, self._device)
        model = _read(network)
        check_contract(
            job,
            network,
            _tensors(model.inputs, job),
            _tensors(model.outputs, job),
            "Correct names, shape and dtype in the model card, or export the network again.",
        )
        _fix_shape(model, job, network)
        properties = _properties(job, self._device)
        _check_rounding(model, properties, network)
        quantised = _is_quantised(model)  # compiling may rewrite the model
        compiled = _compile(core, model, self._device, properties, network)
        self._description = _describe(
            core, compiled, self._device, properties, network, job.runner.streams, quantised
        )
        names = [tensor.name for tensor in _tensors(compiled.outputs, job)]
        self._outputs = [names.index(name) for name in output_names(job)]
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def twin(self) -> Runner:
        """See `Runner`: another request of the same compiled network."""
        other = copy.copy(self)
        other._request = self._compiled.create_infer_request()
        return other

    def describe(self) -> Dict[str, Any]:
        return dict(self._description)

    def run(self, batch: np.ndarray) -> Outputs:
        return self.run_all(batch)[0]

    def run_all(self, batch: np.ndarray) -> List[Outputs]:
        start = time.perf_counter()
        try:
            # Not `infer`: with one thread it loses errors of operators whose shapes depend on the
            # picture, and returns the outputs of the previous one. The input is not copied.
            self._request.start_async({0: batch}, share_inputs=True)
            self._request.wait()
            # Copied, because the next run overwrites them.
            found = [self._request.get_output_tensor(index).data.copy() for index in self._outputs]
        except Exception as failure:  # OpenVINO's own errors share no public base
            raise BundleError(
                "OpenVINO could not run the network: {}".format(_reason(failure)),
                self._path,
                "Check that the network's operators are supported by OpenVINO {} on {}.".format(
                    _VERSION, self._device
                ),
            ) from None
        elapsed = (time.perf_counter() - start) * 1000.0
        return by_picture(found, None, elapsed, None)

    def close(self) -> None:
        self._request = self._compiled = None


def _check_device(core: Any, requested: str) -> None:
    """Refuses AUTO, HETERO and the like, which choose one device or several silently."""
    available = core.available_devices
    if not any(_is_device(device, requested) for device in available):
        raise BundleError(
            "OpenVINO {} has no device '{}' here.".format(_VERSION, requested),
            "runner.provider",
            "It has {}. A GPU needs its driver, and OpenCL's, to be seen.".format(
                ", ".join(available) or "none"
            ),
        )


def _is_device(device: str, requested: str) -> bool:
    """Whether a device is the requested one: `GPU` and `GPU.0` are the same."""
    return re.sub(r"[.]0$", "", device) == re.sub(r"[.]0$", "", requested)


def _read(network: NetworkFile) -> Any:
    """Reads the file by the ONNX front end: `read_model` would try every format on a broken one."""
    front = FrontEndManager().load_by_framework("onnx")
    front.add_extension(operators.deform_conv())
    try:
        model = front.convert(front.load(network.path))
        operators.correct(model)
        return model
    except Exception as failure:  # OpenVINO's own errors share no public base
        raise BundleError(
            "OpenVINO cannot read the network: {}".format(_reason(failure)),
            network.path,
            "Check that the file is an ONNX network of operators that OpenVINO {} knows.".format(
                _VERSION
            ),
        ) from None


def _fix_shape(model: Any, job: Job, network: NetworkFile) -> None:
    """Sets the sizes of an input that the graph leaves open to those of the job."""
    if network.shape is None or not model.inputs[0].get_partial_shape().is_dynamic:
        return
    expected = list(job.preprocess.batch(network.shape))
    try:
        model.reshape(expected)
    except Exception as failure:  # OpenVINO's own errors share no public base
        raise BundleError(
            "The network cannot take an input of {}: {}".format(expected, _reason(failure)),
            network.path,
            "Correct the shape in the model card, or export the network again.",
        ) from None


def _properties(job: Job, device: str) -> Dict[str, Any]:
    properties: Dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY" if job.runner.streams == 1 else "THROUGHPUT",
        _STREAMS: str(job.runner.streams),
        "EXECUTION_MODE_HINT": "ACCURACY",
        _PRECISION: "f32",
    }
    if device == "CPU":
        # Pinned threads would compete with those that prepare pictures, and every process would
        # pin its own to the same cores.
        properties.update({_THREADS: job.runner.threads, "ENABLE_CPU_PINNING": False})
    properties.update(job.runner.options.get("properties", {}))
    return properties


def _compile(
    core: Any, model: Any, device: str, properties: Dict[str, Any], network: NetworkFile
) -> Any:
    try:
        return core.compile_model(model, device, properties)
    except Exception as failure:  # OpenVINO's own errors share no public base
        raise BundleError(
            "OpenVINO cannot load the network onto {}: {}".format(device, _reason(failure)),
            network.path,
            "Check runner.options.properties, and that OpenVINO {} supports the network's "
            "operators there.".format(_VERSION),
        ) from None


def _check_rounding(model: Any, properties: Dict[str, Any], network: NetworkFile) -> None:
    """Refuses a graph that rounds to float16, which OpenVINO drops when it computes in float32."""
    halves = sum(
        node.get_type_name() != "Constant" and port.get_element_type().get_type_name() == "f16"
        for node in model.get_ops()
        for port in node.outputs()
    )
    if halves and str(properties[_PRECISION]) != "f16":
        raise BundleError(
            "{} operators of the network compute in float16; OpenVINO would compute them in "
            "{}.".format(halves, properties[_PRECISION]),
            network.path,
            "Lower it for this target without float16 (no PRECISION and no NMS_PRECISION).",
        )


def _describe(
    core: Any,
    compiled: Any,
    requested: str,
    properties: Dict[str, Any],
    network: NetworkFile,
    asked: int = 1,
    quantised: bool = False,
) -> Dict[str, Any]:
    """Describes what was compiled, and compares it with what was requested.

    Raises:
        BundleError: It is for another device, or of another precision.
    """
    devices = list(compiled.get_property("EXECUTION_DEVICES"))
    if len(devices) != 1 or not _is_device(devices[0], requested):
        raise BundleError(
            "{} was requested, but the network runs on {}.".format(
                requested, ", ".join(devices) or "nothing"
            ),
            network.path,
            "Check the device's driver and libraries. A silent fallback is never accepted.",
        )
    # A precision is a hint to OpenVINO: given f16, a processor computes in bf16 or f32.
    precision = compiled.get_property(_PRECISION).get_type_name()
    if precision != str(properties[_PRECISION]):
        raise BundleError(
            "{} was requested, but {} computes in {}.".format(
                properties[_PRECISION], requested, precision
            ),
            network.path,
            "Name a precision that the device has, or none, in runner.options.properties.",
        )
    streams = compiled.get_property(_STREAMS)
    if asked > 1 and streams != asked:
        raise BundleError(
            "{} pictures at once were requested, but {} runs {}.".format(asked, requested, streams),
            network.path,
            "Ask for fewer, with STREAMS: no more than there are threads.",
        )
    description = {
        "runtime": "openvino",
        "runtime_version": _VERSION,
        "provider": requested,
        "providers": devices,
        "device": core.get_property(devices[0], "FULL_DEVICE_NAME"),
        "device_proof": [_proof(core, devices[0])],
        "precision": _TYPES.get(precision, precision),
        # A processor reads the input where it is.
        "device_time": EXECUTION if requested == "CPU" else EXECUTION_AND_COPIES,
        "problems": [],
    }
    if requested == "CPU":
        # At most one for each core, whatever was requested.
        description["threads"] = compiled.get_property(_THREADS)
    if quantised:
        description["layers"] = _count_layers(compiled)
        if not description["layers"]["int8"]:
            description["problems"] = ["the network is int8, and no layer of it computes in int8"]
    return description


def _is_quantised(model: Any) -> bool:
    return any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())


def _count_layers(compiled: Any) -> Dict[str, int]:
    """How many layers with weights compute in int8, and how many do not."""
    found = {"int8": 0, "float": 0}
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        if facts["layerType"].astype(str) in _LAYERS:
            kernel = facts["primitiveType"].astype(str)
            found["int8" if kernel.lower().endswith("_i8") else "float"] += 1
    return found


def _proof(core: Any, device: str) -> Dict[str, Any]:
    """A processor by the system; another device by its driver, through OpenVINO."""
    if device == "CPU":
        return processor()
    kind = NPU if device.startswith("NPU") else GPU
    try:
        serial = str(core.get_property(device, "DEVICE_UUID"))
    except Exception:  # a plugin without the property; OpenVINO's own errors share no public base
        serial = None
    return proof(kind, str(core.get_property(device, "FULL_DEVICE_NAME")), "OpenVINO", serial)


def _tensors(ports: Sequence[Any], job: Job) -> Sequence[TensorInfo]:
    """Inputs or outputs as the contract describes them; of several names, the expected one."""
    wanted = (job.runner.input, *output_names(job))
    found = []
    for port in ports:
        names = sorted(port.get_names(), key=lambda name: (name not in wanted, name))
        kind = port.get_element_type().get_type_name()
        shape = port.get_partial_shape()
        sizes = None if shape.rank.is_dynamic else [_size(one) for one in shape]
        found.append(TensorInfo("".join(names[:1]), _TYPES.get(kind, kind), sizes))
    return found


def _size(dimension: Any) -> Any:
    return "?" if dimension.is_dynamic else dimension.get_length()


def _reason(failure: Exception) -> str:
    """The reason in a message that begins with source locations inside OpenVINO."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    if "Summary:" in lines:
        return "; ".join(line.lstrip("- ") for line in lines[lines.index("Summary:") + 1 :])
    return lines[-1] if lines else type(failure).__name__


def values(job: Job, picture: np.ndarray, names: Sequence[str]) -> Dict[str, np.ndarray]:
    """Values inside a network, by the names that they have in its file.

    Args:
        job: The network; its outputs need not be among the names.
        picture: Its input.

    Returns:
        The values that OpenVINO's graph still has; its front end replaces some operators by others.
    """
    network = job.runner.networks[0]
    device = job.runner.provider or "CPU"
    core = openvino.Core()
    _check_device(core, device)
    model = _read(network)
    known = {name for node in model.get_ops() for port in node.outputs() for name in port.names}
    kept = [name for name in names if name in known]
    present = {name for port in model.outputs for name in port.names}
    model.add_outputs([name for name in kept if name not in present])
    _fix_shape(model, job, network)
    compiled = _compile(core, model, device, _properties(job, device), network)
    found = compiled({0: picture})
    return {name: np.array(found[compiled.output(name)]) for name in kept}
