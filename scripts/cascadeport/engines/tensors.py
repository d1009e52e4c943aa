"""Runs a lowered graph on arrays by the bundle's own runner, in an environment of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.core.follow import parse_event
from cascadeport.engines import child
from cascadeport.graph.matching import Detections
from cascadeport.graph.verify import Session


def session(python: Path, network: Path, runner: Mapping[str, Any], runtime: str) -> Session:
    """A graph as `graph.verify` runs it: `python -m bundle tensors`.

    Args:
        python: The interpreter of the environment that has the runtime.
        network: The lowered graph, with input `input` float32 (1,3,H,W), `boxes` and `labels`.
        runner: The job's `runner`, as the backend gives it.
        runtime: Name and version of the runtime.
    """

    def run(inputs: Sequence[NDArray[Any]]) -> list[Detections]:
        with tempfile.TemporaryDirectory(prefix="cascadeport-verify-") as folder:
            return _run(Path(folder), python, network, runner, inputs)

    return Session(runtime, run)


def settings_of(network: Path, runner: Mapping[str, Any], shape: Sequence[int]) -> dict[str, Any]:
    """What `python -m bundle tensors` has to know of a network.

    Args:
        network: The lowered graph.
        runner: The job's `runner`.
        shape: Rows and columns of its input.
    """
    return {
        "networks": [{"path": str(network), "sha256": digest.of_file(network)}],
        "input": {
            "name": "input",
            "dtype": "float32",
            "shapes": [list(shape)],
            "resize": [min(shape)] * 2,
        },
        "outputs": {"boxes": "boxes", "labels": "labels"},
        # Labels count up to the number of classes, which a graph does not say.
        "classes": [{"name": str(number), "category_id": number} for number in range(1000)],
        "runner": {"threads": os.cpu_count() or 1, **runner},
    }


def _run(
    folder: Path,
    python: Path,
    network: Path,
    runner: Mapping[str, Any],
    inputs: Sequence[NDArray[Any]],
) -> list[Detections]:
    arrays, out, settings = folder / "inputs", folder / "out", folder / "settings.json"
    arrays.mkdir()
    for index, array in enumerate(inputs):
        np.save(arrays / f"{index:04}.npy", array)
    values = settings_of(network, runner, inputs[0].shape[2:])
    settings.write_text(json.dumps(values), encoding="utf-8")
    done = subprocess.run(
        [str(python), "-m", "bundle", "tensors", str(settings), str(arrays), str(out)],
        cwd=REPOSITORY,
        env=child.environment(),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        events = [parse_event(line) for line in done.stdout.splitlines()]
        failure = next((one for one in events if one and one["event"] == "error"), {})
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CascadeportError(
            str(failure.get("what", "The lowered graph cannot be run.")),
            where=str(failure.get("where", " ".join(last))),
            next=str(failure.get("next", "")),
        )
    found = []
    for index in range(len(inputs)):
        with np.load(out / f"{index:04}.npz") as stored:
            found.append((stored["boxes"], stored["labels"]))
    return found
