"""SHAPES=own gives what mmdet's own test pipeline gives: the input, and the detections."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cascadeport import backends, graph
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import targets
from cascadeport.scenes import generate

from bundle.geometry import fit
from bundle.job import Picture, Preprocess, Shape
from bundle.picture import read_picture
from bundle.preprocess import Canvas, Preprocessor
from tests.helpers import bundle_jobs as jobs
from tests.helpers.exporting import loaded
from tests.helpers.lowering import lower

pytestmark = pytest.mark.export

HERE = Path(__file__).parent
DEMO = REPOSITORY / "models" / "demo"
EDGES = (352, 224)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scenes of several aspect ratios, wide and high ones, and two with nothing in them."""
    folder = tmp_path_factory.mktemp("pictures")
    generate(folder / "scenes", 12, 5)
    by_ratio: dict[int, Path] = {}
    for path in sorted((folder / "scenes").rglob("*.jpg")):
        height, width = cv2.imread(str(path)).shape[:2]
        by_ratio.setdefault(round(5 * width / height), path)
    chosen = list(by_ratio.values())[:5]
    for name, level, spread in (("grey", 90, 1), ("light", 200, 1)):
        noise = np.random.default_rng(0).normal(level, spread, (224, 352, 3))
        chosen.append(folder / f"{name}.png")
        cv2.imwrite(str(chosen[-1]), noise.clip(0, 255).astype(np.uint8))
    return chosen


@pytest.fixture(scope="module")
def mmdet(
    export_python: Path, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What mmdet made and found, in the exporter's layout."""
    out = tmp_path_factory.mktemp("mmdet") / "out"
    config = REPOSITORY / "images" / "export" / "configs" / "demo.py"
    done = subprocess.run(
        [
            *map(str, (export_python, HERE / "mmdet_own.py", config, DEMO / "demo.pth", *EDGES)),
            *map(str, (out, *pictures)),
        ],
        env={**jobs.environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def listed(mmdet: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((mmdet / "export.json").read_text())["pictures"]
    return found


def test_the_input_is_mmdets_to_the_last_bit(mmdet: Path, pictures: list[Path]) -> None:
    long, short = (-(-edge // 32) * 32 for edge in EDGES)
    settings = Preprocess(
        "float32",
        (Shape(short, long), Shape(long, short)),
        EDGES,
        MEAN,
        STD,
        "rgb",
        "corner",
        32,
    )
    canvas, preprocessor = Canvas(settings), Preprocessor(settings)
    shapes = set()
    for entry, path in zip(listed(mmdet), pictures, strict=True):
        height, width = cv2.imread(str(path)).shape[:2]
        picture = Picture(1, path.name, width, height)
        geometry = fit(picture, settings)
        preprocessor.prepare(read_picture(str(path), picture), geometry, canvas)
        theirs = np.load(mmdet / entry["file"])["input"]
        assert canvas.array.shape == theirs.shape
        assert canvas.array.tobytes() == theirs.tobytes(), path.name
        assert [geometry.resized_height, geometry.resized_width] == entry["inside"]
        shapes.add(theirs.shape)
    assert len(shapes) >= 4


@pytest.mark.parametrize(("target", "lowering"), [("cpu", "onnxruntime"), ("openvino", "openvino")])
def test_the_detections_are_mmdets(mmdet: Path, tmp_path: Path, target: str, lowering: str) -> None:
    row = targets.load(REPOSITORY / "targets.toml", backends.row)[target]
    environment = backends.of(row).environment
    if environment is not None and not environment.is_installed:
        pytest.skip("OpenVINO is not installed; cascadeport install --target openvino installs it")
    wanted = {"any_shape": True, "clip": "picture", "mean": MEAN, "std": STD}
    done = lower(DEMO / "demo.onnx", tmp_path / "own.onnx", lowering, **wanted)
    verification = graph.verify(loaded(target, done.path, lowering), "own.onnx", mmdet)
    verification.require_passed()
    assert sum(one.expected for one in verification.pictures) > 20
    assert not any(one.missing or one.extra for one in verification.pictures)


def test_clipping_to_the_padding_would_be_found_out(mmdet: Path, tmp_path: Path) -> None:
    """The same network, but clipped to the input's border: no longer what mmdet detects."""
    done = lower(DEMO / "demo.onnx", tmp_path / "input.onnx", "onnxruntime", any_shape=True)
    verification = graph.verify(loaded("cpu", done.path, "onnxruntime"), "input.onnx", mmdet)
    assert not all(one.passed for one in verification.pictures)
