"""What a runtime must do to be run by the bundle, and the runtimes that there are."""

from __future__ import annotations

import importlib
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from bundle.errors import BundleError
from bundle.job import Job


class Outputs(NamedTuple):
    """What the network found in one picture, as the runtime gave it.

    Args:
        boxes: (n, 5) float32: x1, y1, x2, y2, score in network pixels.
        labels: (n,) int32 or int64.
        h2d_ms: Milliseconds to copy the input to the device, where the runtime tells.
        device_ms: Milliseconds of the network itself, where the runtime tells.
        d2h_ms: Milliseconds to copy the outputs back, where the runtime tells.
    """

    boxes: np.ndarray
    labels: np.ndarray
    h2d_ms: Optional[float] = None
    device_ms: Optional[float] = None
    d2h_ms: Optional[float] = None


class Runner:
    """Networks, one for every shape, loaded on a device. Used from one thread at a time.

    Loading checks the network against the contract and raises BundleError where it differs.
    """

    def describe(self) -> Dict[str, Any]:
        """What runs, for run.json: `runtime`, `runtime_version`, `provider` (asked for) and
        `providers` (that really run). `simulated` is true where no device is behind it.
        `problems` are sentences that make the run invalid; there are none before the first run."""
        raise NotImplementedError

    def run(self, batch: np.ndarray) -> Outputs:
        """Runs the network of that shape.

        Args:
            batch: The input, in a shape and the type that the job says. Not kept after the call.

        Raises:
            BundleError: The network failed, or ran elsewhere than was asked for.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Gives the device back."""


class ByShape(Runner):
    """Runners of one network each. Each batch goes to the one that takes its shape.

    Args:
        runners: By the shape of their batch.
    """

    def __init__(self, runners: Dict[Tuple[int, ...], Runner]) -> None:
        self._runners = runners

    def describe(self) -> Dict[str, Any]:
        told = [runner.describe() for runner in self._runners.values()]
        problems = [problem for one in told for problem in one.get("problems", [])]
        # They are alike in everything but what went wrong.
        return dict(told[0], problems=problems)

    def run(self, batch: np.ndarray) -> Outputs:
        return self._runners[batch.shape].run(batch)

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()


# Runtimes that may keep Python's lock while the device computes: see runners/apart.py.
_KEEPS_LOCK = frozenset({"aclruntime"})

# A runner's module is imported only when its runtime is asked for: no image has them all.
_MODULES = {"aclruntime": "bundle.runners.ascend", "onnxruntime": "bundle.runners.onnx"}


def runs_apart(job: Job) -> bool:
    """Whether the network gets a process of its own; `runner.options.apart` can say so too."""
    return bool(job.runner.options.get("apart", job.runner.name in _KEEPS_LOCK))


def open_runner(job: Job) -> Runner:
    """Loads the job's networks.

    Raises:
        BundleError: The runner is unknown, its runtime is not installed, the network cannot be
            loaded or does not obey the contract.
    """
    name = job.runner.name
    if name not in _MODULES:
        raise BundleError(
            "There is no runner '{}'.".format(name),
            "runner.name",
            "Runners: {}.".format(", ".join(sorted(_MODULES))),
        )
    load = importlib.import_module(_MODULES[name]).load
    runners: Dict[Tuple[int, ...], Runner] = {}
    try:
        for network in job.runner.networks:
            runners[job.preprocess.batch(network.shape)] = load(job, network)
    except BundleError:
        ByShape(runners).close()
        raise
    return ByShape(runners) if len(runners) > 1 else next(iter(runners.values()))
