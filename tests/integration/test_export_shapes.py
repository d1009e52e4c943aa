"""Wide pictures and high ones: from one checkpoint by one export to one result."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cascadeport.backends.ascend.reference_executor import executable
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.neutral import load_neutral
from cascadeport.graph.reshaping import for_shape

from tests.helpers.lowering import lower
from tests.integration.test_export_pipeline import World

pytestmark = pytest.mark.export

SHAPES = ("256x320", "320x256")
# More than the exporter needs, and enough of both orientations.
PICTURES = 60
INPUT = "shapes = [[256, 320], [320, 256]]\nresize = [320, 256]"


def shaped(world: World, name: str, source: str) -> Path:
    """The demo's card, in two shapes instead of the square."""
    changes = {"size = 256": INPUT, 'padding = "centre"': 'padding = "corner"'}
    return world.card(name, source, **changes)


@pytest.fixture(scope="module")
def world(repository: Path, export_python: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("shapes"), repository, export_python.parents[1])


@pytest.fixture(scope="module")
def trained(world: World) -> str:
    """What a run of the demo's checkpoint in two shapes said."""
    card = shaped(world, "trained", f'path = "{world.checkpoint}"\nconfig = "demo"')
    return world.passes("--model", card, "--limit", PICTURES)


def results(world: World, name: str) -> Path:
    return world.root / "results" / f"{name}-demo-first{PICTURES}"


def result(world: World, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((results(world, name) / "cpu/result.json").read_text())
    return content


def export(world: World, name: str) -> Path:
    return world.root / "build" / "models" / name / "export"


def stages(said: str) -> list[str]:
    """The stages that ran."""
    return re.findall(r"^run +(\S+ \S+)", said, re.MULTILINE)


def test_one_export_is_verified_at_every_shape(world: World, trained: str) -> None:
    folder = export(world, "trained")
    record = json.loads((folder / "export.json").read_text())
    assert record["input"]["shape"] == [1, 3, 256, 320]
    (report,) = folder.parent.glob("onnxruntime*-every/verification.json")
    assert str(report) in trained
    verification = json.loads(report.read_text())
    assert verification["passed"]
    listed = list(zip(record["pictures"], verification["pictures"], strict=True))
    for shape in SHAPES:
        wanted = [int(side) for side in shape.split("x")]
        others = [one for entry, one in listed if entry["shape"] == wanted and not one["traced"]]
        assert len(others) >= 3
        assert sum(each["expected"] for each in others) > 0
        assert min(each["expected"] for each in others) == 0


def test_a_separate_export_at_the_other_shape_gives_the_same(
    world: World, trained: str, tmp_path: Path
) -> None:
    """The graph traced at one shape and given another, and one traced at that other shape."""
    height, width = (int(side) for side in SHAPES[1].split("x"))
    card = world.card(
        "other",
        f'path = "{world.checkpoint}"\nconfig = "demo"',
        **{
            "size = 256": "shapes = [[320, 256], [256, 320]]\nresize = [320, 256]",
            'padding = "centre"': 'padding = "corner"',
        },
    )
    world.passes("--model", card, "--limit", PICTURES)
    traced_there = export(world, "other")
    assert json.loads((traced_there / "export.json").read_text())["input"]["shape"][2:] == [
        320,
        256,
    ]
    given = lower(
        export(world, "trained") / "neutral.onnx",
        tmp_path / "given.onnx",
        "onnxruntime",
        shape=(height, width),
    )
    own = lower(traced_there / "neutral.onnx", tmp_path / "own.onnx", "onnxruntime")
    sessions = [
        onnxruntime.InferenceSession(str(one.path), providers=["CPUExecutionProvider"])
        for one in (given, own)
    ]
    found = 0
    for file in sorted((traced_there / "reference").glob("*.npz")):
        value = np.load(file)["input"]
        if value.shape[2:] == (height, width):
            first, second = (each.run(None, {"input": value}) for each in sessions)
            assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
            found += len(first[0])
    assert found > 10


def test_every_picture_ran_in_its_own_shape_and_the_objects_were_found(
    world: World, trained: str
) -> None:
    lines = (results(world, "trained") / "cpu/infer/geometry.jsonl").read_text().splitlines()
    geometries = [json.loads(line) for line in lines]
    assert len(geometries) == PICTURES
    for each in geometries:
        high = each["height"] > each["width"]
        assert (each["input_height"], each["input_width"]) == ((320, 256) if high else (256, 320))
    counts = Counter(each["input_height"] for each in geometries)
    assert min(counts[256], counts[320]) > 3
    found = result(world, "trained")
    assert found["status"] == "measured"
    assert found["model"]["input"] == "256x320, 320x256, pictures to 320x256"
    world.passes("--model", "demo", "--limit", PICTURES)
    square = result(world, "demo")
    assert square["model"]["input"] == "256x256"
    # The shorter edge is as long as the square's, or longer: no less is seen.
    assert found["map"] > square["map"] - 0.05
    assert found["map"] > 0.4
    table = (results(world, "trained") / "comparison.md").read_text()
    assert "input 256x320, 320x256, pictures to 320x256" in table.splitlines()[0]


def test_a_changed_graph_of_one_shape_is_lowered_again_alone(world: World, trained: str) -> None:
    files = []
    for shape in SHAPES:
        files.append(world.root / f"graph-{shape}.onnx")
        graph = EditableGraph(load_neutral(export(world, "trained") / "neutral.onnx"))
        for_shape(graph, tuple(int(side) for side in shape.split("x")))
        onnx.save(graph.to_model(), str(files[-1]))
    text = shaped(world, "graphs", "").read_text()
    listed = ", ".join(f'{{ path = "{file}" }}' for file in files)
    card = world.root / "graphs.toml"
    card.write_text(text.replace("[checkpoint]", f'[graph]\nkind = "neutral"\nfiles = [{listed}]'))
    words = ("--model", card, "--limit", PICTURES)
    said = world.passes(*words)
    assert [stage for stage in stages(said) if stage.startswith("lower")] == [
        f"lower graphs-{shape}" for shape in SHAPES
    ]
    assert result(world, "graphs")["map"] == result(world, "trained")["map"]
    again = world.passes(*words)
    # The table is computed every time, and nothing else is.
    assert stages(again) == ["compare and"]

    model = onnx.load(str(files[1]))
    model.doc_string = "another file of the same meaning"
    onnx.save(model, str(files[1]))
    said = world.passes(*words)
    assert [stage for stage in stages(said) if stage.startswith("lower")] == [
        f"lower graphs-{SHAPES[1]}"
    ]
    # Lowered, it is the same network as before: stages chain by content, and no pass is repeated.
    assert "run graphs" not in stages(said)
    assert result(world, "graphs")["map"] == result(world, "trained")["map"]


@pytest.mark.parametrize("index", [0, 1])
def test_the_ascend_graph_of_every_shape(
    world: World, trained: str, index: int, tmp_path: Path
) -> None:
    """It passes the check that reads it as CANN's plug-ins do, and detects what PyTorch does."""
    folder = export(world, "trained")
    wanted = tuple(int(side) for side in SHAPES[index].split("x"))
    faithful = {"proposals": 1000, "across_levels": False, "shape": wanted}
    done = lower(folder / "neutral.onnx", tmp_path / "ascend.onnx", "ascend", **faithful)
    height, width = SHAPES[index].split("x")
    assert done.facts["atc"]["input_shape"] == f"input:1,3,{height},{width}"
    path = executable(done.path, tmp_path / "executable.onnx", "fp32")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    same = total = 0
    for file in sorted((folder / "reference").glob("*.npz")):
        stored = np.load(file)
        if stored["input"].shape[2:] != wanted:
            continue
        boxes, labels = session.run(None, {"input": stored["input"]})
        assert (boxes.shape, labels.shape) == ((100, 5), (100,))
        for box, label in zip(stored["boxes"], stored["labels"], strict=True):
            near = (np.abs(boxes - box) <= [0.1, 0.1, 0.1, 0.1, 1e-3]).all(axis=1)
            same += bool((near & (labels == label)).any())
            total += 1
    assert total > 30
    assert same > 0.9 * total
