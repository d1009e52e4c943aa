"""Runs a session with input and outputs in the device's memory, so that copies are timed apart.

`InferenceSession.run` copies the input to the device and the outputs back inside its own time. With
IO binding the copies are calls of their own, and what remains is the network.
"""

from __future__ import annotations

import time
from typing import Any, List, NamedTuple, Optional, Sequence

import numpy as np
import onnxruntime

#: onnxruntime's name for the memory of a provider's device; the other providers share the host's.
MEMORY = {"CUDAExecutionProvider": "cuda"}


class Timed(NamedTuple):
    """The outputs of a run, and the milliseconds of its three parts."""

    outputs: List[np.ndarray]
    h2d_ms: float
    device_ms: float
    d2h_ms: float


class Binding:
    """The memory that a session reads its input from, on a device, and where its outputs stay.

    Args:
        session: The session.
        memory: A value of `MEMORY`, or `cpu`.
        device: The device's number.
        name: The input.
        outputs: The outputs' names.
    """

    def __init__(
        self, session: Any, memory: str, device: int, name: str, outputs: Sequence[str]
    ) -> None:
        self._session = session
        self._place = (memory, device)
        self._name = name
        self._outputs = outputs
        self._binding = session.io_binding()
        self._input: Optional[Any] = None
        self._shape: Sequence[int] = ()

    def run(self, batch: np.ndarray) -> Timed:
        """Runs the network on one picture; the outputs are copies in the host's memory."""
        start = time.perf_counter()
        changed = self._shape != batch.shape
        if self._input is None or changed or not hasattr(self._input, "update_inplace"):
            self._shape = batch.shape
            self._input = onnxruntime.OrtValue.ortvalue_from_numpy(batch, *self._place)
            self._binding.bind_ortvalue_input(self._name, self._input)
        else:
            self._input.update_inplace(batch)
        sent = time.perf_counter()
        # Bound again each time: how many boxes there are depends on the picture.
        self._binding.clear_binding_outputs()
        for name in self._outputs:
            self._binding.bind_output(name, *self._place)
        self._session.run_with_iobinding(self._binding)
        # A device computes after the call has returned.
        getattr(self._binding, "synchronize_outputs", _nothing)()
        computed = time.perf_counter()
        outputs = [np.array(value.numpy()) for value in self._binding.get_outputs()]
        received = time.perf_counter()
        return Timed(
            outputs,
            (sent - start) * 1000.0,
            (computed - sent) * 1000.0,
            (received - computed) * 1000.0,
        )


def _nothing() -> None:
    """In place of what an old onnxruntime lacks."""
