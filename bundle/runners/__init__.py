"""What a runtime must offer to run networks for the bundle. Every folder below is a runner.

A job names its runner, and the name is the folder's. There is no table of names: a new runner is a
new folder (see README.md) and changes no other file.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from bundle.errors import BundleError
from bundle.job import Job, NetworkFile

if TYPE_CHECKING:
    # Not imported at run time: the command line asks every runner for its commands first.
    import numpy as np


#: What `device_time` in `describe` says is inside a device's time.
EXECUTION, EXECUTION_AND_COPIES = "execution", "execution and copies"


class Outputs(NamedTuple):
    """What a network returned for one picture.

    Args:
        boxes: (n, 5) float32: x1, y1, x2, y2, score in network pixels.
        labels: (n,) int32 or int64: class indices.
        h2d_ms: Milliseconds to copy the input to the device; None if the runtime does not say.
        device_ms: Milliseconds that the network itself took; None if the runtime does not say.
        d2h_ms: Milliseconds to copy the outputs back; None if the runtime does not say.
    """

    boxes: np.ndarray
    labels: np.ndarray
    h2d_ms: Optional[float] = None
    device_ms: Optional[float] = None
    d2h_ms: Optional[float] = None


def by_picture(
    arrays: Sequence[np.ndarray],
    h2d_ms: Optional[float],
    device_ms: Optional[float],
    d2h_ms: Optional[float],
) -> List[Outputs]:
    """Outputs as a network has them: boxes and labels, of one picture after the other."""
    pairs = zip(arrays[0::2], arrays[1::2])
    return [Outputs(boxes, labels, h2d_ms, device_ms, d2h_ms) for boxes, labels in pairs]


class Runner:
    """A network that is loaded on a device. It is called from one thread at a time."""

    def describe(self) -> Dict[str, Any]:
        """What runs the network, for `environment` in run.json.

        Returns:
            `runtime`, `runtime_version`, `provider` (the one requested) and `providers` (those in
            use), `device_time` (what is inside the device's time: `EXECUTION`, or
            `EXECUTION_AND_COPIES`), `device_proof` (bundle/device.py: an entry for each device that
            runs it), and whatever else the runner knows. `simulated` is true if
            there is no real device. `problems` lists, a sentence each, what makes the run invalid;
            it can only be complete after the first picture.
        """
        raise NotImplementedError

    def run(self, batch: np.ndarray) -> Outputs:
        """Runs the network on one picture.

        Args:
            batch: The input, in the shape and type that the job specifies. The array is reused
                for another picture as soon as this returns.

        Raises:
            BundleError: The network failed, or did not run where it was supposed to.
        """
        raise NotImplementedError

    def run_all(self, batch: np.ndarray) -> List[Outputs]:
        """Runs a network that takes `input.pictures` at once.

        Args:
            batch: As for `run`, with the pictures side by side.

        Returns:
            What was found in each picture, each with the times of the whole batch.

        Raises:
            BundleError: As for `run`.
        """
        return [self.run(batch)]

    def twin(self) -> Runner:
        """Another one for another thread, which runs the same network in the same memory.

        Both are closed; the one that was loaded comes first, and nothing runs any more then.

        Raises:
            BundleError: The runtime has none.
        """
        raise BundleError(
            "This runtime does not run several pictures at once.",
            type(self).__module__,
            "Leave STREAMS out.",
        )

    def close(self) -> None:
        """Releases the device."""


class RunnerByShape(Runner):
    """Several networks that differ in the shape of their input. Each batch goes to its own.

    Args:
        runners: A runner for each shape of a batch.
    """

    def __init__(self, runners: Dict[Tuple[int, ...], Runner]) -> None:
        self._runners = runners

    def describe(self) -> Dict[str, Any]:
        descriptions = [runner.describe() for runner in self._runners.values()]
        problems = [problem for one in descriptions for problem in one.get("problems", [])]
        # They differ in nothing else.
        return dict(descriptions[0], problems=problems)

    def run(self, batch: np.ndarray) -> Outputs:
        return self._runners[batch.shape].run(batch)

    def run_all(self, batch: np.ndarray) -> List[Outputs]:
        return self._runners[batch.shape].run_all(batch)

    def twin(self) -> Runner:
        return RunnerByShape({shape: one.twin() for shape, one in self._runners.items()})

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()


def runner_names() -> List[str]:
    """The names of all runners, sorted: the packages in this folder."""
    folder = os.path.dirname(os.path.abspath(__file__))
    return sorted(
        name
        for name in os.listdir(folder)
        if name.isidentifier() and os.path.isfile(os.path.join(folder, name, "__init__.py"))
    )


def runner_module(name: str) -> ModuleType:
    """The package of a runner. Importing it does not import the runtime.

    Raises:
        BundleError: There is no runner of that name.
    """
    if name not in runner_names():
        raise BundleError(
            "There is no runner '{}'.".format(name),
            "runner.name",
            "Available runners: {}.".format(", ".join(runner_names())),
        )
    return importlib.import_module("{}.{}".format(__name__, name))


def needs_own_process(job: Job) -> bool:
    """Whether the network should run in a process of its own (see process.py).

    By default it does if the runtime may hold Python's lock while the device computes;
    `runner.options.own_process` overrides this. False for an unknown runner, which is reported
    when the network is loaded.
    """
    name = job.runner.name
    default = name in runner_names() and runner_module(name).KEEPS_GIL
    return bool(job.runner.options.get("own_process", default))


def open_runner(job: Job) -> Runner:
    """Loads the job's networks.

    Raises:
        BundleError: There is no such runner, its runtime is not installed, or a network cannot be
            loaded or violates the contract.
    """
    module = runner_module(job.runner.name)
    first = job.runner.networks[0]
    if first.shape is None:
        return _load(module, job, first)
    runners: Dict[Tuple[int, ...], Runner] = {}
    try:
        for network in job.runner.networks:
            assert network.shape is not None
            runners[job.preprocess.batch(network.shape)] = _load(module, job, network)
    except BundleError:
        RunnerByShape(runners).close()
        raise
    return RunnerByShape(runners) if len(runners) > 1 else next(iter(runners.values()))


def _load(module: ModuleType, job: Job, network: NetworkFile) -> Runner:
    runner: Runner = module.load(job, network)
    return runner
