"""The network's input is that of mmcv 1.2.4, to the last bit."""

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
from tests.helpers import bundle_jobs as jobs

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "preprocess_mmcv.json").read_text(encoding="utf-8"))
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def noise(width: int, height: int) -> np.ndarray:
    """The bytes of `mmcv_input.noise`."""
    count = np.arange(width * height * 3, dtype=np.uint64)
    mixed = (count * np.uint64(2654435761) + np.uint64(width * 40503 + height)) % np.uint64(1 << 32)
    return (mixed >> np.uint64(24)).astype(np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("row", GOLDEN["inputs"], ids=lambda row: "-".join(map(str, row.values())))
def test_digests_that_mmcv_made(tmp_path: Path, row: dict[str, Any]) -> None:
    """By way of files: the picture is a PNG, the input a `.bin`."""
    width, height = row["width"], row["height"]
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", noise(width, height))[1].tobytes())
    content = jobs.job(
        tmp_path,
        [jobs.item(1, "a.png", width, height)],
        input=jobs.square(row["size"]),
        preprocess={
            "mean": list(MEAN),
            "std": list(STD),
            "channels": row["channels"],
            "padding": row["padding"],
        },
    )
    write_bins(jobs.checked(content), str(tmp_path / "out"))
    data = (tmp_path / "out" / "bins" / "a.bin").read_bytes()
    assert hashlib.sha256(data).hexdigest() == row["sha256"]


def call(python: Path, *arguments: object) -> Any:
    done = subprocess.run(
        [str(python), str(HERE / "mmcv_input.py"), *map(str, arguments)],
        env=jobs.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.py37
def test_mmcv_itself_still_makes_these_digests(py37: Path) -> None:
    made = call(py37, "golden")
    assert made["made_by"]["mmcv"] == "1.2.4"
    assert made["inputs"] == GOLDEN["inputs"]


@pytest.mark.py37
def test_real_pictures_beside_mmcv_itself(py37: Path, shared: Path) -> None:
    folder = shared / "coco26" / "val2017"
    assert call(py37, "compare", folder) == {"pictures": 26, "differing": []}


@pytest.mark.py37
def test_the_comparison_sees_a_difference(py37: Path, tmp_path: Path) -> None:
    """A bundle whose table is one bit off in one value is found out."""
    (tmp_path / "pictures").mkdir()
    jobs.write_picture(tmp_path / "pictures" / "a.png", 64, 48)
    script = (HERE / "mmcv_input.py").read_text(encoding="utf-8")
    spoiled = script.replace(
        "    Preprocessor(settings).prepare(",
        "    preprocessor = Preprocessor(settings)\n"
        "    table = preprocessor._tables[0]\n"
        "    table[0, 0] = np.nextafter(table[0, 0], np.float32(9))\n"
        "    preprocessor.prepare(",
    )
    assert spoiled != script
    (tmp_path / "spoiled.py").write_text(spoiled)
    done = subprocess.run(
        [str(py37), str(tmp_path / "spoiled.py"), "compare", str(tmp_path / "pictures")],
        env=jobs.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(done.stdout)["differing"]) == 2
