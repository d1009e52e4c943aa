"""Runs a network on an Ascend chip by aclruntime, the module of ais_infer.

Argument order, names and timing are those of Ascend/tools, ais-bench_workload/tool/ais_infer
(2022-07-18 and later). The network's outputs are taken in the order of atc's `--out_nodes`, boxes
first: their names in an om file are those of nodes.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Sequence

import numpy as np

try:
    import aclruntime
except ImportError as failure:
    from bundle.errors import BundleError

    raise BundleError(
        "aclruntime cannot be imported: {}.".format(failure),
        "runner aclruntime",
        "It is in the images of the Ascend targets, and needs CANN's libraries on LD_LIBRARY_PATH.",
    ) from None

from bundle.errors import BundleError
from bundle.job import Job, Network, Shape
from bundle.runners import Outputs, Runner

# TensorBase.h numbers the types.
_TYPES = {0: "float32", 1: "float16", 3: "int32", 4: "uint8", 9: "int64"}
# Codes that the module quotes, and what they are about.
_CODES = {
    "507033": "Driver and firmware do not work with this CANN, or the device is not in the "
    "container; see npu-smi info and `cascadeport doctor`.",
    "507011": "The chip gave up while it computed; see npu-smi info -t health, and the kernel's "
    "log.",
    "107001": "There is no chip of that number: see runner.options.devices and npu-smi info.",
    "107002": "The device is not open in this thread: a fault of the bundle.",
}
_LOADING = (
    "It was made for {}. If `npu-smi info` shows another chip, or the CANN here is older than "
    "the one that made it, or the file is cut off: convert it again."
)


def load(job: Job, network: Network) -> Runner:
    """Loads one of the job's networks onto a chip.

    `runner.options` may hold `devices`, the numbers of the card's chips, and holds in `device` the
    one that is meant here; 0 by default.
    """
    return AclRunner(job, network, int(job.runner.options.get("device", 0)))


class AclRunner(Runner):
    """A session of aclruntime on one chip.

    Args:
        job: The job.
        network: The network.
        device: The chip's number.
    """

    def __init__(self, job: Job, network: Network, device: int) -> None:
        self._job = job
        self._network = network
        self._device = device
        options = aclruntime.session_options()
        try:
            # The model's path comes first; ais_bench's own wrapper has it second.
            self._session = aclruntime.InferenceSession(network.path, device, options)
            self._session.set_staticbatch()
        except RuntimeError as failure:
            soc = job.runner.options.get("soc", "the chip that atc was told (--soc_version)")
            raise self._explained(failure, "load the network", _LOADING.format(soc)) from None
        self._outputs = self._check_contract()

    def describe(self) -> Dict[str, Any]:
        devices = self._job.runner.options.get("devices") or [self._device]
        return {
            "runtime": "aclruntime",
            "runtime_version": getattr(aclruntime, "__version__", "unknown"),
            "provider": "Ascend, {} of this card".format(
                "1 chip" if len(devices) == 1 else "{} chips".format(len(devices))
            ),
            "providers": ["Ascend device {}".format(device) for device in devices],
            "chips": len(devices),
            "simulated": bool(getattr(aclruntime, "SIMULATED", False)),
        }

    def run(self, batch: np.ndarray) -> Outputs:
        try:
            began = time.perf_counter()
            tensor = aclruntime.Tensor(batch)
            tensor.to_device(self._device)
            sent = time.perf_counter()
            self._session.reset_sumaryinfo()
            outputs = self._session.run(self._outputs, [tensor])
            computed = time.perf_counter()
            for output in outputs:
                output.to_host()
            arrays = [np.array(output) for output in outputs]
            received = time.perf_counter()
        except RuntimeError as failure:
            raise self._explained(failure, "run the network", "") from None
        # Execution alone, as ais_infer reports it; setting up the call is the rest.
        times = list(self._session.sumary().exec_time_list)
        device_ms = float(times[-1]) if times else (computed - sent) * 1000.0
        boxes, labels = arrays
        return Outputs(
            boxes.reshape(-1, 5),
            labels.reshape(-1),
            h2d_ms=(sent - began) * 1000.0,
            device_ms=device_ms,
            d2h_ms=(received - computed) * 1000.0,
        )

    def close(self) -> None:
        # The module frees the model when the session goes, and must do so in this thread.
        del self._session

    def _check_contract(self) -> List[str]:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        dtype = self._job.preprocess.dtype
        expected = self._job.preprocess.batch(self._network.shape)
        faults = []
        if len(inputs) != 1:
            faults.append("it has {} inputs instead of one".format(len(inputs)))
        else:
            size = int(np.prod(expected)) * np.dtype(dtype).itemsize
            wrong = _TYPES.get(int(inputs[0].datatype)) != dtype or inputs[0].size != size
            if wrong or _is_turned(inputs[0].shape, self._network.shape):
                faults.append(
                    "its input is {}, not {} {}".format(_describe(inputs[0]), dtype, expected)
                )
        if len(outputs) != 2:
            faults.append("it has {} outputs instead of boxes and labels".format(len(outputs)))
        else:
            boxes, labels = outputs
            if _TYPES.get(int(boxes.datatype)) != "float32" or list(boxes.shape)[-1:] != [5]:
                faults.append("its first output is {}, not boxes (n,5)".format(_describe(boxes)))
            if _TYPES.get(int(labels.datatype)) not in ("int32", "int64"):
                faults.append("its second output is {}, not labels".format(_describe(labels)))
        if faults:
            raise BundleError(
                "The network breaks the contract: {}.".format("; ".join(faults)),
                self._network.path,
                "Convert it again: atc must name boxes and labels in --out_nodes, in that order.",
            )
        return [one.name for one in outputs]

    def _explained(self, failure: Exception, doing: str, remedy: str) -> BundleError:
        text = str(failure).strip()
        for code, meaning in _CODES.items():
            if code in text:
                remedy = meaning
        return BundleError(
            "aclruntime could not {} on chip {}: {}".format(doing, self._device, text),
            self._network.path,
            remedy or "The lines above this one in the log say more; see npu-smi info.",
        )


def _is_turned(found: Sequence[int], shape: Shape) -> bool:
    """Whether an input is as high as it should be wide: its size in bytes does not tell.

    With AIPP, versions differ in whether they name it channels first or last.
    """
    height, width = shape
    return height != width and tuple(found) in ((1, 3, width, height), (1, width, height, 3))


def _describe(tensor: Any) -> str:
    kind = _TYPES.get(int(tensor.datatype), "type {}".format(tensor.datatype))
    return "'{}' {} {}".format(tensor.name, kind, tuple(tensor.shape))
