"""Runs a network by onnxruntime (1.9, the last but a few for Python 3.7, to today)."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Sequence

import numpy as np

try:
    import onnxruntime
except ImportError as failure:
    from bundle.errors import BundleError

    raise BundleError(
        "onnxruntime cannot be imported: {}.".format(failure),
        "runner onnxruntime",
        "Install onnxruntime (for CUDA: onnxruntime-gpu) into this Python.",
    ) from None

from bundle.errors import BundleError
from bundle.job import Job, Network
from bundle.runners import Outputs, Runner
from bundle.runners.placement import Placement

_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
# Errors, not warnings: a session says more than a log needs.
_LOG_ERRORS = 3


def load(job: Job, network: Network) -> Runner:
    """Loads one of the job's networks into a session.

    `runner.options` may hold `session` (a mapping of onnxruntime's session configuration entries)
    and `provider` (a mapping of the provider's own options).
    """
    return OnnxRunner(job, network)


class OnnxRunner(Runner):
    """A session of onnxruntime on one provider."""

    def __init__(self, job: Job, network: Network) -> None:
        self._job = job
        self._file = network.path
        self._asked = job.runner.provider or "CPUExecutionProvider"
        options = _options(job)
        self._placement = Placement(options, self._asked)
        try:
            self._session = _open_session(job, network, self._asked, options)
            self._check_provider()
            _check_contract(self._session, job, network)
        except BundleError:
            self._placement.close()
            raise
        self._outputs = [job.runner.boxes, job.runner.labels]

    def describe(self) -> Dict[str, Any]:
        return {
            "runtime": "onnxruntime",
            "runtime_version": onnxruntime.__version__,
            "provider": self._asked,
            "providers": self._session.get_providers(),
            "problems": self._placement.problems,
        }

    def run(self, batch: np.ndarray) -> Outputs:
        start = time.perf_counter()
        try:
            boxes, labels = self._session.run(self._outputs, {self._job.runner.input: batch})
        except Exception as failure:  # onnxruntime's own errors share no public base
            raise BundleError(
                "onnxruntime could not run the network: {}".format(_first_line(failure)),
                self._file,
                "Check that the network's operators are supported by {} {}.".format(
                    self._asked, onnxruntime.__version__
                ),
            ) from None
        elapsed = (time.perf_counter() - start) * 1000.0
        # onnxruntime replaces a session whose provider fails; then the next run is elsewhere.
        self._check_provider()
        self._placement.check(self._session)
        return Outputs(boxes, labels, device_ms=elapsed)

    def close(self) -> None:
        self._placement.close()

    def _check_provider(self) -> None:
        providers = self._session.get_providers()
        if not providers or providers[0] != self._asked:
            raise BundleError(
                "{} was asked for, but the network runs on {}.".format(
                    self._asked, ", ".join(providers) or "nothing"
                ),
                self._file,
                "Check driver and libraries of the device; nothing falls back unseen here.",
            )


def _options(job: Job) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.runner.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS
    if len(job.runner.networks) > 1:
        # After a run a session's threads keep spinning for the next one, which now is another
        # session's: without this, pictures of changing shapes cost a third more processor time.
        options.add_session_config_entry("session.force_spinning_stop", "1")
    for key, value in job.runner.options.get("session", {}).items():
        options.add_session_config_entry(key, str(value))
    return options


def _open_session(job: Job, network: Network, provider: str, options: Any) -> Any:
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise BundleError(
            "This onnxruntime {} has no {}.".format(onnxruntime.__version__, provider),
            "runner.provider",
            "It has {}. Install the onnxruntime that has it.".format(", ".join(available)),
        )
    own = {key: str(value) for key, value in job.runner.options.get("provider", {}).items()}
    try:
        return onnxruntime.InferenceSession(
            network.path, options, providers=[provider], provider_options=[own]
        )
    except Exception as failure:  # onnxruntime's own errors share no public base
        raise BundleError(
            "onnxruntime cannot load the network: {}".format(_first_line(failure)),
            network.path,
            "Check that the file is an ONNX network of an opset that onnxruntime {} knows.".format(
                onnxruntime.__version__
            ),
        ) from None


def _check_contract(session: Any, job: Job, network: Network) -> None:
    """Names what is there and what was expected, all at once."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    faults: List[str] = []
    expected = job.preprocess.batch(network.shape)
    if [one.name for one in inputs] != [job.runner.input]:
        faults.append("its inputs are not one input '{}'".format(job.runner.input))
    elif inputs[0].type != _TYPES[job.preprocess.dtype] or not _fits(inputs[0].shape, expected):
        faults.append(
            "input '{}' is not {} {}".format(
                job.runner.input, job.preprocess.dtype, _shape(expected)
            )
        )
    there = {one.name: one for one in outputs}
    boxes, labels = there.get(job.runner.boxes), there.get(job.runner.labels)
    if boxes is None:
        faults.append("there is no output '{}'".format(job.runner.boxes))
    elif boxes.type != "tensor(float)" or not _fits(boxes.shape, (None, 5)):
        faults.append("output '{}' is not float32 (n,5)".format(job.runner.boxes))
    if labels is None:
        faults.append("there is no output '{}'".format(job.runner.labels))
    elif labels.type not in ("tensor(int64)", "tensor(int32)") or not _fits(labels.shape, (None,)):
        faults.append("output '{}' is not int64 (n,)".format(job.runner.labels))
    if faults:
        raise BundleError(
            "The network breaks the contract: {}. It has inputs {} and outputs {}.".format(
                "; ".join(faults), _list(inputs), _list(outputs)
            ),
            network.path,
            "Correct names, shape and dtype in the model card, or export the network again.",
        )


def _fits(shape: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Whether a declared shape can be the expected one. Names and None stand for any size."""
    if not shape and expected:
        return True  # an output of unknown rank: its values are checked after every run
    if len(shape) != len(expected):
        return False
    return all(
        not isinstance(have, int) or want is None or have == want
        for have, want in zip(shape, expected)
    )


def _list(nodes: Sequence[Any]) -> str:
    return ", ".join(
        "'{}' {} {}".format(node.name, node.type[7:-1], _shape(node.shape)) for node in nodes
    )


def _shape(shape: Sequence[Any]) -> str:
    return "({})".format(",".join(str(edge) for edge in shape))


def _first_line(failure: Exception) -> str:
    text = str(failure).strip()
    return text.splitlines()[0] if text else type(failure).__name__
