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
import onnx
from numpy.typing import NDArray

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config.cards import MULTIPLE
from cascadeport.core.follow import parse_event
from cascadeport.engines import child
from cascadeport.graph.batching import batches
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


def settings_of(network: Path, runner: Mapping[str, Any], *shapes: Sequence[int]) -> dict[str, Any]:
    """What `python -m bundle tensors` has to know of a network.

    Args:
        network: The lowered graph.
        runner: The job's `runner`.
        shapes: Rows and columns of its inputs; several of a network that takes every shape.
    """
    largest = [max(sides) for sides in zip(*shapes, strict=True)]
    every = {"multiple": MULTIPLE} if len(set(map(tuple, shapes))) > 1 else {}
    return {
        "networks": [{"path": str(network), "sha256": digest.of_file(network)}],
        "input": {
            "name": "input",
            "dtype": "float32",
            "shapes": [largest],
            "resize": [min(largest)] * 2,
            **every,
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
    pictures = _pictures(network)
    places: dict[int, tuple[int, str]] = {}
    for number, (own, array) in enumerate(batches(inputs, pictures)):
        np.save(arrays / f"{number:04}.npy", array)
        for place, index in enumerate(own):
            places[index] = number, f"_{place}" if pictures > 1 else ""
    values = settings_of(network, runner, *(one.shape[2:] for one in inputs))
    if pictures > 1:
        values["input"]["pictures"] = pictures
    settings.write_text(json.dumps(values), encoding="utf-8")
    _bundle(python, "tensors", str(settings), str(arrays), str(out))
    found = []
    for index in range(len(inputs)):
        number, suffix = places[index]
        with np.load(out / f"{number:04}.npz") as stored:
            found.append((stored[f"boxes{suffix}"], stored[f"labels{suffix}"]))
    return found


def _pictures(network: Path) -> int:
    """How many pictures a graph takes at once."""
    graph = onnx.load(str(network), load_external_data=False).graph
    first = graph.input[0].type.tensor_type.shape.dim[0]
    return int(first.dim_value) if first.HasField("dim_value") else 1


def values(
    python: Path,
    network: Path,
    runner: Mapping[str, Any],
    picture: NDArray[Any],
    names: Sequence[str],
) -> dict[str, NDArray[Any]]:
    """Values inside a lowered graph, as a runner of the bundle computes them.

    Args:
        python: The interpreter of the environment that has the runtime.
        network: The lowered graph.
        runner: The job's `runner`, as the backend gives it; `python -m bundle` has a command
            NAME-values for it.
        picture: Its input, (1,3,H,W).
        names: Which values.

    Returns:
        Those that the runtime still has.

    Raises:
        CascadeportError: The runtime cannot run the graph.
    """
    with tempfile.TemporaryDirectory(prefix="cascadeport-values-") as name:
        folder = Path(name)
        settings, wanted, out = folder / "settings.json", folder / "names.json", folder / "out.npz"
        content = settings_of(network, runner, picture.shape[2:])
        settings.write_text(json.dumps(content), encoding="utf-8")
        wanted.write_text(json.dumps(list(names)), encoding="utf-8")
        np.save(folder / "picture.npy", picture)
        words = (str(settings), str(folder / "picture.npy"), str(wanted), str(out))
        _bundle(python, f"{runner['name']}-values", *words)
        with np.load(out) as stored:
            return {str(one): stored[str(index)] for index, one in enumerate(stored["names"])}


def _bundle(python: Path, *words: str) -> None:
    """Runs a command of the bundle."""
    done = subprocess.run(
        [str(python), "-m", "bundle", *words],
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
