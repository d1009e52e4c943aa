"""The model is what ran: settings of the card, digests of graphs and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cascadeport import datasets
from cascadeport.base import digest
from cascadeport.config import cards
from cascadeport.core.stage import Stage
from cascadeport.pipeline.stages import export
from cascadeport.results import comparison as compare
from cascadeport.results import tables

from tests.helpers import finished, small_world


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"))


PREPROCESS = {"mean": [0.0] * 3, "std": [1.0] * 3, "channels": "rgb", "padding": "centre"}
POSTPROCESS = {"score_threshold": 0.05, "max_detections": 100}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"preprocess": {**PREPROCESS, "mean": [1.0] * 3}}, "other mean than"),
        ({"preprocess": {**PREPROCESS, "std": [2.0] * 3}}, "other std than"),
        ({"preprocess": {**PREPROCESS, "channels": "bgr"}}, "other channels than"),
        ({"preprocess": {**PREPROCESS, "padding": "corner"}}, "other padding than"),
        ({"classes": []}, "other classes than"),
        (
            {
                "preprocess": {**PREPROCESS, "mean": [1.0] * 3},
                "postprocess": {"score_threshold": 0.6, "max_detections": 1},
            },
            "other mean, score threshold, detections per picture than",
        ),
    ],
)
def test_rows_of_other_settings_are_not_comparable(
    tmp_path: Path, boxes: datasets.Dataset, settings: dict[str, Any], named: str
) -> None:
    """M1: a card that was edited between two targets."""
    finished.finish(tmp_path, boxes)
    finished.finish(tmp_path, boxes, target="T4", title="NVIDIA T4", settings=settings)
    found = compare.collect(tmp_path, finished.known(tmp_path, boxes), ("cpu", "T4"))
    table = compare.compare(found)
    cpu, gpu = table.rows
    assert (cpu.status, gpu.status) == ("measured", "invalid")
    assert gpu.reason == f"{named} CPU, onnxruntime; run it again to compare"
    assert gpu.delta_map is None
    assert gpu.settings_digest != cpu.settings_digest
    assert named in tables.as_markdown(table)


def test_threads_may_differ(tmp_path: Path, boxes: datasets.Dataset) -> None:
    finished.finish(tmp_path, boxes)
    runner = {"threads": 64, "name": "onnxruntime", "options": {}}
    finished.finish(tmp_path, boxes, target="T4", title="T4", settings={"runner": runner})
    found = compare.collect(tmp_path, finished.known(tmp_path, boxes))
    assert {row.status for row in compare.compare(found).rows} == {"measured"}


def test_a_card_cannot_claim_the_checkpoint_of_another_graph(tmp_path: Path) -> None:
    """M1: the demo's checkpoint named beside another graph."""
    path = small_world.card(tmp_path)
    claimed = "0ececda08fa3dea10ffe739c8bacd373a11bc34e4537aabcc8c5ef96f57a671f"
    text = f'\n[checkpoint]\nurls = ["https://example.org/demo.pth"]\nsha256 = "{claimed}"\n'
    path.write_text(path.read_text() + text)
    card = cards.load(path)
    assert card.model_digest == digest.of_file(tmp_path / "small.onnx")
    assert export.exported_checkpoint(()) is None


def exported(folder: Path, **model: Any) -> Stage:
    folder.mkdir(parents=True)
    (folder / "export.json").write_text(json.dumps({"model": model}))
    return Stage("export", "export", folder, {}, {}, lambda context, out: None)


def test_the_full_digest_of_a_checkpoint_is_that_of_its_export(tmp_path: Path) -> None:
    """A card pins it by eight digits."""
    one = exported(tmp_path / "one", checkpoint_sha256="3b2f0594" + "a" * 56)
    assert export.exported_checkpoint([one]) == "3b2f0594" + "a" * 56
    drawn = exported(tmp_path / "drawn", checkpoint_sha256=None, random_weights_seed=1)
    assert export.exported_checkpoint([drawn]) is None
