"""A session of onnxruntime: 1.9, which still runs on Python 3.7, or any later version."""

from __future__ import annotations

import copy
import time
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from bundle.device import processor
from bundle.errors import BundleError
from bundle.job import Job, NetworkFile
from bundle.runners import EXECUTION, EXECUTION_AND_COPIES, Outputs, Runner, by_picture
from bundle.runners.contract import TensorInfo, check_contract, output_names
from bundle.runners.onnxruntime.nvidia import nvidia_gpu, nvidia_proof
from bundle.runners.onnxruntime.placement import Placement

try:
    import onnxruntime

    from bundle.runners.onnxruntime.binding import MEMORY, Binding
except ImportError as failure:
    raise BundleError(
        "onnxruntime cannot be imported: {}.".format(failure),
        "runner onnxruntime",
        "Install onnxruntime (for CUDA: onnxruntime-gpu) into this Python.",
    ) from None

# The names that differ from numpy's.
_DTYPES = {"float": "float32", "double": "float64"}
# Session log severity: errors only. Its warnings do not concern whoever runs a job.
_LOG_ERRORS = 3


class OnnxruntimeRunner(Runner):
    """A session on one provider.

    Args:
        job: The job.
        network: Which of its networks to load.

    Raises:
        BundleError: The provider is not available, or the network cannot be loaded or violates
            the contract.
    """

    def __init__(self, job: Job, network: NetworkFile) -> None:
        self._job = job
        self._path = network.path
        self._provider = job.runner.provider or "CPUExecutionProvider"
        options = _session_options(job)
        self._placement = Placement(options, self._provider)
        try:
            self._session = _open_session(job, network, self._provider, options)
            self._check_provider()
            check_contract(
                job,
                network,
                _tensors(self._session.get_inputs()),
                _tensors(self._session.get_outputs()),
                "Correct names, shape and dtype in the model card, or export the network again.",
            )
        except BundleError:
            self._placement.close()
            raise
        self._output_names = output_names(job)
        self._binding = self._bind(job)

    def describe(self) -> Dict[str, Any]:
        on_gpu = self._provider == "CUDAExecutionProvider"
        ordinal = int(self._job.runner.options.get("provider", {}).get("device_id", 0))
        return {
            "runtime": "onnxruntime",
            "runtime_version": onnxruntime.__version__,
            "provider": self._provider,
            "providers": self._session.get_providers(),
            "device_time": EXECUTION if self._separates_copies else EXECUTION_AND_COPIES,
            "nodes": self._placement.nodes,
            "problems": self._placement.problems,
            "device_proof": [nvidia_proof(ordinal) if on_gpu else processor()],
            **(nvidia_gpu() if on_gpu else {}),
        }

    def run(self, batch: np.ndarray) -> Outputs:
        return self.run_all(batch)[0]

    def run_all(self, batch: np.ndarray) -> List[Outputs]:
        if self._placement.is_pending:
            with self._placement.first:
                return self._checked(batch)
        return self._checked(batch)

    def twin(self) -> Runner:
        """See `Runner`: the same session, which several threads may call."""
        return copy.copy(self)

    def _checked(self, batch: np.ndarray) -> List[Outputs]:
        try:
            outputs = self._run(batch)
        except Exception as failure:  # onnxruntime's exceptions have no public base class
            raise BundleError(
                "onnxruntime could not run the network: {}".format(_first_line(failure)),
                self._path,
                "Check that {} of onnxruntime {} supports all of its operators.".format(
                    self._provider, onnxruntime.__version__
                ),
            ) from None
        # When a provider fails, onnxruntime replaces the session: the next picture would run
        # somewhere else.
        self._check_provider()
        self._placement.check(self._session)
        return outputs

    def close(self) -> None:
        self._placement.close()

    def _bind(self, job: Job) -> Optional[Binding]:
        """Where the device has memory of its own, unless the job says otherwise."""
        memory = job.runner.options.get("io_binding", MEMORY.get(self._provider))
        if not memory:
            return None
        device = int(job.runner.options.get("provider", {}).get("device_id", 0))
        return Binding(self._session, memory, device, job.runner.input, self._output_names)

    @property
    def _separates_copies(self) -> bool:
        """Whether a device time has no copies in it: they are timed apart, or are none."""
        return self._binding is not None or self._provider not in MEMORY

    def _run(self, batch: np.ndarray) -> List[Outputs]:
        if self._binding is not None:
            timed = self._binding.run(batch)
            return by_picture(timed.outputs, timed.h2d_ms, timed.device_ms, timed.d2h_ms)
        start = time.perf_counter()
        found = self._session.run(self._output_names, {self._job.runner.input: batch})
        return by_picture(found, None, (time.perf_counter() - start) * 1000.0, None)

    def _check_provider(self) -> None:
        providers = self._session.get_providers()
        if not providers or providers[0] != self._provider:
            raise BundleError(
                "{} was requested, but the network runs on {}.".format(
                    self._provider, ", ".join(providers) or "nothing"
                ),
                self._path,
                "Check the device's driver and libraries. A silent fallback is never accepted.",
            )


def _session_options(job: Job) -> Any:
    options = onnxruntime.SessionOptions()
    # A thread that calls the session computes, too: with several, this makes `threads` together.
    options.intra_op_num_threads = max(1, job.runner.threads - job.runner.streams + 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS
    if len(job.runner.networks) > 1:
        # After a run, a session's threads keep spinning in wait for the next one, which may be
        # another session's: without this, alternating shapes cost a third more processor time.
        options.add_session_config_entry("session.force_spinning_stop", "1")
    for key, value in job.runner.options.get("session", {}).items():
        options.add_session_config_entry(key, str(value))
    return options


def _open_session(job: Job, network: NetworkFile, provider: str, options: Any) -> Any:
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise BundleError(
            "This onnxruntime {} has no {}.".format(onnxruntime.__version__, provider),
            "runner.provider",
            "It has {}. Install an onnxruntime with that provider.".format(", ".join(available)),
        )
    settings = {key: str(value) for key, value in job.runner.options.get("provider", {}).items()}
    try:
        return onnxruntime.InferenceSession(
            network.path, options, providers=[provider], provider_options=[settings]
        )
    except Exception as failure:  # onnxruntime's exceptions have no public base class
        raise BundleError(
            "onnxruntime cannot load the network: {}".format(_first_line(failure)),
            network.path,
            "Check that it is an ONNX file of an opset that onnxruntime {} supports.".format(
                onnxruntime.__version__
            ),
        ) from None


def _tensors(nodes: Sequence[Any]) -> Sequence[TensorInfo]:
    result = []
    for node in nodes:
        name = node.type.replace("tensor(", "").rstrip(")")
        # An empty list is what onnxruntime gives for an unknown number of dimensions.
        result.append(TensorInfo(node.name, _DTYPES.get(name, name), node.shape or None))
    return result


def _first_line(failure: Exception) -> str:
    text = str(failure).strip()
    return text.splitlines()[0] if text else type(failure).__name__
