"""The network's input at 1333x800 is that of mmdet 2.8.0's own pipeline, to the last bit."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.runners.aclruntime.bins import write_bins
from tests.golden.test_preprocess_mmcv import MEAN, STD, noise
from tests.helpers import bundle_jobs as jobs

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "preprocess_mmdet.json").read_text(encoding="utf-8"))
PUBLIC = {"shapes": [[800, 1344], [1344, 800]], "resize": [1333, 800]}


def test_digests_that_mmdet_made(tmp_path: Path) -> None:
    """By way of files: the pictures are PNGs, the inputs `.bin`, a folder for each shape."""
    items = []
    for index, row in enumerate(GOLDEN["inputs"]):
        width, height = row["width"], row["height"]
        picture = cv2.imencode(".png", noise(width, height))[1]
        (tmp_path / f"{index}.png").write_bytes(picture.tobytes())
        items.append(jobs.item(index, f"{index}.png", width, height))
    content = jobs.job(
        tmp_path,
        items,
        input=PUBLIC,
        preprocess={"mean": list(MEAN), "std": list(STD), "padding": "corner"},
    )
    content["networks"] *= 2
    write_bins(jobs.checked(content), str(tmp_path / "out"))
    found = [
        hashlib.sha256(
            (tmp_path / "out/bins" / "{}x{}".format(*row["shape"]) / f"{index}.bin").read_bytes()
        ).hexdigest()
        for index, row in enumerate(GOLDEN["inputs"])
    ]
    assert found == [row["sha256"] for row in GOLDEN["inputs"]]
    assert {tuple(row["shape"]) for row in GOLDEN["inputs"]} == {(800, 1344), (1344, 800)}


def call(python: Path, script: Path, *arguments: object) -> Any:
    done = subprocess.run(
        [str(python), str(script), *map(str, arguments)],
        env=jobs.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])  # mmcv says something of CUDA before


@pytest.mark.export
def test_mmdet_itself_still_makes_these_digests(export_python: Path) -> None:
    made = call(export_python, HERE / "mmdet_input.py", "golden")
    assert made["made_by"]["mmdet"] == "2.8.0"
    assert made["inputs"] == GOLDEN["inputs"]


@pytest.mark.export
def test_real_pictures_beside_mmdet_itself(export_python: Path, shared: Path) -> None:
    folder = shared / "coco26" / "val2017"
    made = call(export_python, HERE / "mmdet_input.py", "compare", folder)
    assert made == {"pictures": 26, "differing": []}


@pytest.mark.export
def test_the_comparison_sees_a_difference(export_python: Path, tmp_path: Path) -> None:
    """A bundle whose short edge is one pixel longer is found out."""
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.asarray(noise(64, 48)))
    script = (HERE / "mmdet_input.py").read_text(encoding="utf-8")
    spoiled = script.replace("shapes, RESIZE, MEAN", "shapes, (1333, 799), MEAN")
    assert spoiled != script
    (tmp_path / "spoiled.py").write_text(spoiled)
    made = call(export_python, tmp_path / "spoiled.py", "compare", tmp_path / "pictures")
    assert made == {"pictures": 1, "differing": ["a.png"]}
