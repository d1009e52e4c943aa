"""The networks that are tried: built by the tool, measured by the target's own runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cascadeport import backends
from cascadeport.base.paths import REPOSITORY
from cascadeport.core.context import Context
from cascadeport.core.task import Task
from cascadeport.engines import tensors
from cascadeport.engines.local import LocalEngine
from cascadeport.graph.matching import Detections
from cascadeport.quantise.drift import Drift, measure
from cascadeport.quantise.environment import ENVIRONMENT
from cascadeport.quantise.selection import Selection

#: Pictures that the drift is measured on: two passes over them per network that is tried.
_DRIFT_PICTURES = 16
_SILENCE_S = 3600.0


class Candidates:
    """Builds networks by the tool, and measures them in the target's own runtime.

    Args:
        tool: The tool's name.
        network: The float32 graph.
        inputs: The calibration inputs, files of float32 (1,3,H,W), .npy.
        selected: What of the graph may be int8.
        scratch: A folder for what is tried.
        log: Where what the tool prints goes; each call of it has a number.

    Attributes:
        runtime: Name and version of the runtime that measures.
    """

    def __init__(
        self,
        context: Context,
        tool: str,
        network: Path,
        inputs: Sequence[Path],
        selected: Selection,
        scratch: Path,
        log: Path,
    ) -> None:
        self._context, self._tool, self._network = context, tool, network
        self._inputs, self._selected = inputs, selected
        self._scratch, self._log = scratch, log
        backend = backends.of(context.target)
        self._engine = LocalEngine(backend)
        self._runner = backend.runner(context.options)
        runtime = str(self._runner["name"])
        self.runtime = f"{runtime} {ENVIRONMENT.pinned[runtime]}"
        self._expected: list[Detections] = []
        self._built = 0

    def build(self, kept: Sequence[Sequence[str]], out: Sequence[Path]) -> None:
        """Writes networks in which these layers stay in float32."""
        self._built += 1
        request = self._scratch / "request.json"
        variants = [
            {"out": str(path), "float": list(names)} for names, path in zip(kept, out, strict=True)
        ]
        values: dict[str, Any] = {
            "tool": self._tool,
            "graph": str(self._network),
            "inputs": [str(path) for path in self._inputs],
            "nodes": list(self._selected.nodes),
            "ranges": str(self._scratch / "ranges"),
            "variants": variants,
        }
        request.write_text(json.dumps(values), encoding="utf-8")
        task = Task(
            stage="quantise",
            argv=(str(ENVIRONMENT.python), "-m", "cascadeport.quantise.tool", str(request)),
            mounts=(),
            code=REPOSITORY / "scripts",
            log=self._log.with_name(f"{self._log.stem}-{self._built}{self._log.suffix}"),
            deadline_s=_SILENCE_S,
        )
        self._engine.run(task, self._context.reporter.event)

    def measure(self, kept: Sequence[Sequence[str]]) -> list[Drift]:
        """The drift of networks in which these layers stay in float32."""
        if not self._expected:
            self._expected = self._detect(self._network)
        out = [self._scratch / f"tried-{index}.onnx" for index in range(len(kept))]
        self.build(kept, out)
        found = []
        for index, path in enumerate(out):
            self._context.reporter.update(index, len(out), "networks tried")
            found.append(measure(self._expected, self._detect(path)))
            path.unlink()
        self._context.reporter.update(len(out), len(out), "networks tried")
        return found

    def _detect(self, network: Path) -> list[Detections]:
        session = tensors.session(ENVIRONMENT.python, network, self._runner, self.runtime)
        inputs = [np.load(path) for path in self._inputs[:_DRIFT_PICTURES]]
        return session.run(inputs)
