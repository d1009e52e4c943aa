"""The demo's graph with and without errors, explained on the picture that shows them most."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cascadeport import backends, scenes
from cascadeport.backends.ascend.reference_executor import executable
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import cards
from cascadeport.datasets import Dataset, load
from cascadeport.explain import tensors
from cascadeport.explain.anchors import Anatomy
from cascadeport.explain.pictures import Pictures, choose
from cascadeport.explain.tensors import Comparison
from cascadeport.explain.values import Graph
from cascadeport.pipeline.job import network_input

from tests.helpers.finished import rewrite
from tests.helpers.planted import Planted, seeded

NEUTRAL = REPOSITORY / "models" / "demo" / "demo.onnx"
#: Pairs of graphs that compute the same: each other lowering, and Ascend's in float32.
SAME = ("onnxruntime", "onnxruntime-1.9", "openvino", "ascend", "ascend-standard")


@dataclass(frozen=True)
class World:
    """The demo's lowered graph, and pictures that it was not trained on.

    Args:
        folder: For graphs.
        pictures: How many pictures there are.
    """

    folder: Path
    pictures: int = 12

    @cached_property
    def dataset(self) -> Dataset:
        """The pictures."""
        scenes.generate(self.folder / "data", count=self.pictures, seed=77)
        return load(self.folder / "data")

    @cached_property
    def taken(self) -> Pictures:
        """The pictures as the network takes them."""
        card = cards.load(REPOSITORY / "models" / "demo.toml")
        items = self.dataset.items
        job = {
            "format": 3,
            "networks": [{"path": "network.onnx", "sha256": "0" * 64}],
            "input": network_input(card),
            "outputs": {"boxes": "boxes", "labels": "labels"},
            "preprocess": {
                "mean": list(card.input.mean),
                "std": list(card.input.std),
                "channels": card.input.channels,
                "padding": card.input.padding,
            },
            "postprocess": {"score_threshold": 0.05, "max_detections": 100},
            "classes": [one.model_dump() for one in card.classes],
            "pictures": {"items": [vars(one) for one in items]},
            "runner": {"name": "onnxruntime", "threads": 1, "options": {}},
            "stream": {"workers": 1, "queue": 1},
            "measure": {"warmup": 0, "repeats": 1, "repeat_pictures": 1},
            "keep_going": False,
            "draw": 0,
        }
        return Pictures(job, self.dataset)

    @cached_property
    def graph(self) -> Graph:
        """The demo lowered for onnxruntime."""
        return Graph(self.lowered(NEUTRAL, "onnxruntime"))

    @cached_property
    def anatomy(self) -> Anatomy:
        """Where the demo's values are."""
        return Anatomy.of(NEUTRAL)

    def lowered(self, neutral: Path, lowering: str) -> Path:
        """A graph lowered faithfully, ready for onnxruntime."""
        out = self.folder / f"{neutral.stem}-{lowering}.onnx"
        if not lowering.startswith("ascend"):
            return backends.lowering(lowering).lower(neutral, out).path
        faithful = backends.load("ascend").faithful
        done = backends.lowering(lowering).lower(neutral, out, faithful)
        return executable(done.path, out.with_suffix(".run.onnx"), "fp32", rules=())

    def detections(self, graph: Graph) -> dict[int, list[dict[str, Any]]]:
        """What a graph detects in every picture."""
        found = {}
        for picture in self.taken.ids:
            arrays = graph.run(self.taken.read(picture), graph.outputs)
            boxes, labels = (arrays[name] for name in graph.outputs)
            found[picture] = self.taken.located(picture, (boxes, labels))
        return found

    @cached_property
    def own(self) -> dict[int, list[dict[str, Any]]]:
        """What the demo detects."""
        return self.detections(self.graph)

    def planted(self, seed: int) -> tuple[Planted, Comparison]:
        """The demo against itself with a seeded error, on the picture that differs most."""
        model = onnx.load(str(NEUTRAL))
        planted = seeded(model, seed)
        path = self.folder / f"planted-{seed}.onnx"
        onnx.save(model, str(path))
        other = Graph(self.lowered(path, "onnxruntime"))
        chosen = choose(self.dataset, self.own, self.detections(other), None)
        return planted, self.compared(other, chosen.id)

    def same(self, lowering: str, picture: int) -> Comparison:
        """The demo against itself in another lowering.

        Args:
            picture: The index of the picture.
        """
        other = Graph(self.lowered(NEUTRAL, lowering))
        return self.compared(other, self.taken.ids[picture])

    def compared(self, other: Graph, picture: int) -> Comparison:
        """The demo against another graph, on a picture."""
        array = self.taken.read(picture)
        return tensors.compare((self.graph, other), (array, np.array(array)), self.anatomy)


def row_of_npu(source: Path, folder: Path, target: str = "310P3") -> None:
    """A row of an NPU: the record of a CPU's with another target.

    The network that it names is kept nowhere, as after a run on another host.
    """
    shutil.copytree(source, folder)

    def subject(record: dict[str, Any]) -> None:
        (record.get("run") or record)["subject"]["target"] = target

    rewrite(folder / "result.json", subject)
    rewrite(folder / "infer" / "run.json", subject)
    rewrite(folder / "infer" / "stage.json", lambda one: one["inputs"].update(network="0" * 64))
    network = {"path": "/model/network.om", "sha256": "0" * 64}
    rewrite(folder / "infer" / "job.json", lambda one: one.update(networks=[network]))


def sentences(path: Path) -> Sequence[str]:
    """The sentences of an explanation."""
    found: Sequence[str] = json.loads(path.read_text(encoding="utf-8"))["sentences"]
    return found
