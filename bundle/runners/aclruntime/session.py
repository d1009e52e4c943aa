"""A session of aclruntime on one Ascend chip.

Argument order, names and times are those of Ascend/tools, ais-bench_workload/tool/ais_infer
(2022-07-18 and later). The names of an om file's outputs are those of graph nodes, so outputs are
identified by the order of atc's `--out_nodes`: boxes first, then labels.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from bundle.errors import BundleError
from bundle.job import Job, NetworkFile
from bundle.runners import EXECUTION, Outputs, Runner
from bundle.runners.aclruntime import version
from bundle.runners.aclruntime.chip import proofs
from bundle.runners.contract import TensorInfo, check_contract

try:
    import aclruntime
except ImportError as failure:
    raise BundleError(
        "aclruntime cannot be imported: {}.".format(failure),
        "runner aclruntime",
        "It is in the images of the Ascend targets, and needs CANN's libraries on LD_LIBRARY_PATH.",
    ) from None

# The numbers of TensorBase.h.
_DTYPES = {0: "float32", 1: "float16", 3: "int32", 4: "uint8", 9: "int64"}
# Error codes that aclruntime quotes, and what to do about them.
_CODES = {
    "507033": "Driver and firmware do not work with this CANN, or the device is not in the "
    "container; see npu-smi info and `cascadeport doctor`.",
    "507011": "The chip failed while computing; see npu-smi info -t health, and the kernel's log.",
    "107001": "There is no chip of that number: see runner.options.devices and npu-smi info.",
    "107002": "The device is not open in this thread: this is a bug in the bundle.",
}
_HOST_CLOCK = "by the host's clock, with the overhead of the call"
_LOADING = (
    "It was made for {}. If `npu-smi info` shows another chip, or the CANN here is older than "
    "the one that made it, or the file is truncated: convert it again."
)


class AclruntimeRunner(Runner):
    """A session on one chip.

    Args:
        job: The job.
        network: Which of its networks to load.
        device: The chip's number.

    Raises:
        BundleError: The chip is not available, or the network cannot be loaded or violates the
            contract.
    """

    def __init__(self, job: Job, network: NetworkFile, device: int) -> None:
        self._job = job
        self._network = network
        self._device = device
        self._device_clock = "execution alone, by aclruntime"
        options = aclruntime.session_options()
        try:
            # The network's path comes first; in ais_bench's own wrapper it comes second.
            self._session = aclruntime.InferenceSession(network.path, device, options)
            self._gear: Sequence[int] = ()
            if network.shape is not None:
                self._session.set_staticbatch()
            else:
                # Every gear once: one that atc was not given is an error now, not at a picture.
                for shape in reversed(job.preprocess.shapes):
                    self._use_gear(job.preprocess.batch(shape))
        except RuntimeError as failure:
            soc = job.runner.options.get("soc", "the chip given to atc as --soc_version")
            raise self._error(failure, "load the network", _LOADING.format(soc)) from None
        self._output_names = self._check_contract()

    def describe(self) -> Dict[str, Any]:
        devices = self._job.runner.options.get("devices") or [self._device]
        simulated = bool(getattr(aclruntime, "SIMULATED", False))
        return {
            "runtime": "aclruntime",
            "runtime_version": version(),
            "provider": "Ascend, {} of this card".format(
                "1 chip" if len(devices) == 1 else "{} chips".format(len(devices))
            ),
            "providers": ["Ascend device {}".format(device) for device in devices],
            "chips": len(devices),
            "device_clock": self._device_clock,
            "device_time": EXECUTION,
            "device_proof": proofs(devices, simulated),
            "simulated": simulated,
        }

    def run(self, batch: np.ndarray) -> Outputs:
        try:
            start = time.perf_counter()
            if self._network.shape is None and batch.shape != self._gear:
                self._use_gear(batch.shape)
            tensor = aclruntime.Tensor(batch)
            tensor.to_device(self._device)
            sent = time.perf_counter()
            self._session.reset_sumaryinfo()
            outputs = self._session.run(self._output_names, [tensor])
            computed = time.perf_counter()
            for output in outputs:
                output.to_host()
            arrays = [np.array(output) for output in outputs]
            received = time.perf_counter()
        except RuntimeError as failure:
            raise self._error(failure, "run the network", "") from None
        # Execution alone, as ais_infer reports it; the rest is the overhead of the call.
        device_ms = _execution_ms(self._session.sumary())
        if device_ms is None:
            device_ms = (computed - sent) * 1000.0
            self._device_clock = _HOST_CLOCK
        boxes, labels = arrays
        return Outputs(
            boxes.reshape(-1, 5),
            labels.reshape(-1),
            h2d_ms=(sent - start) * 1000.0,
            device_ms=device_ms,
            d2h_ms=(received - computed) * 1000.0,
        )

    def close(self) -> None:
        # aclruntime frees the network with the session, which must happen in this thread.
        del self._session

    def _use_gear(self, batch: Sequence[int]) -> None:
        """Chooses the network's program for a batch (1,3,H,W), one of atc's gears.

        aclruntime calls its first argument the width, but passes it on as the first number of a
        gear, which is the height (ModelInferenceProcessor.cpp and ModelProcess.cpp there).
        """
        self._session.set_dynamic_hw(int(batch[2]), int(batch[3]))
        self._gear = tuple(batch)

    def _check_contract(self) -> List[str]:
        """Checks the contract; returns the names of the outputs."""
        outputs = self._session.get_outputs()
        check_contract(
            self._job,
            self._network,
            [self._describe_input(one) for one in self._session.get_inputs()],
            [_describe_output(one) for one in outputs],
            "Convert it again: atc's --out_nodes must name boxes and labels, in this order.",
            by_name=False,
        )
        return [one.name for one in outputs]

    def _describe_input(self, tensor: Any) -> TensorInfo:
        """With AIPP, versions differ in whether the shape has the channels first or last.

        So the size in bytes decides, except between a wide and a tall input, which are equal in
        size.
        """
        if self._network.shape is None:
            # Open sizes are -1.
            sizes = ["?" if side < 0 else side for side in tensor.shape]
            return TensorInfo(tensor.name, _dtype(tensor), sizes)
        expected = self._job.preprocess.batch(self._network.shape)
        size = int(np.prod(expected)) * np.dtype(self._job.preprocess.dtype).itemsize
        shape = tuple(tensor.shape)
        if tensor.size == size and not self._is_rotated(shape):
            shape = expected
        return TensorInfo(tensor.name, _dtype(tensor), shape)

    def _is_rotated(self, shape: Sequence[int]) -> bool:
        assert self._network.shape is not None
        height, width = self._network.shape
        return height != width and shape in ((1, 3, width, height), (1, width, height, 3))

    def _error(self, failure: Exception, action: str, advice: str) -> BundleError:
        text = str(failure).strip()
        for code, meaning in _CODES.items():
            if code in text:
                advice = meaning
        return BundleError(
            "aclruntime could not {} on chip {}: {}".format(action, self._device, text),
            self._network.path,
            advice or "The log lines above this one say more; see npu-smi info.",
        )


def _execution_ms(summary: Any) -> Optional[float]:
    """How long the last run took; None if this version of aclruntime does not say.

    `exec_time_list` is a list of milliseconds, from 2024-02-01 on one of (start, end), and does not
    exist before 2022-07-18.
    """
    times = list(getattr(summary, "exec_time_list", ()))
    if not times:
        return None
    try:
        return float(times[-1])
    except TypeError:
        start, end = times[-1]
        return float(end) - float(start)


def _describe_output(tensor: Any) -> TensorInfo:
    """With the dimensions that `run` will give it: (n, 5), or (n,)."""
    shape = tuple(tensor.shape)
    columns = (5,) if len(shape) > 1 and shape[-1] == 5 else ()
    rows = int(np.prod(shape)) // int(np.prod(columns))
    return TensorInfo(tensor.name, _dtype(tensor), (rows,) + columns)


def _dtype(tensor: Any) -> str:
    return _DTYPES.get(int(tensor.datatype), "type {}".format(tensor.datatype))
