"""The bundle on aarch64, run by qemu: network inputs and detections of the same bytes as here.

The digests of the inputs are those that mmcv and mmdet made, so that nothing is compared with our
own output only. scripts/make-arm64 makes the environment.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import pytest

from bundle.run import run
from bundle.runners.aclruntime.bins import write_bins
from tests.golden.test_preprocess_mmcv import GOLDEN as MMCV
from tests.golden.test_preprocess_mmcv import MEAN, STD, noise
from tests.golden.test_preprocess_mmdet import GOLDEN as MMDET
from tests.golden.test_preprocess_mmdet import PUBLIC
from tests.helpers import bundle_jobs as jobs

pytestmark = pytest.mark.arm


def there(python: Path, command: str, content: dict[str, Any], folder: Path) -> Path:
    """What the bundle leaves for a job on aarch64."""
    path = jobs.write(folder / "job.json", content)
    done = jobs.call(command, path, folder / "there", python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "there"


def drawn(folder: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pictures of noise, as a job lists them."""
    items = []
    for index, row in enumerate(rows):
        name, width, height = f"{index}.png", row["width"], row["height"]
        (folder / name).write_bytes(cv2.imencode(".png", noise(width, height))[1].tobytes())
        items.append(jobs.item(index, name, width, height))
    return items


def digests(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.bin"), key=lambda path: int(path.stem)):
        yield hashlib.sha256(path.read_bytes()).hexdigest()


def _settings(row: dict[str, Any]) -> tuple[int, str, str]:
    return row["size"], row["channels"], row["padding"]


# The other channel order and padding are tried at one size: emulation is slow.
GROUPS = [
    list(rows)
    for settings, rows in groupby(sorted(MMCV["inputs"], key=_settings), key=_settings)
    if settings[1] == "rgb" or settings[0] == 160
]


def test_it_is_an_aarch64(arm64: Path) -> None:
    text = "import platform; print(platform.machine())"
    done = subprocess.run([arm64, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "aarch64"


@pytest.mark.parametrize("rows", GROUPS, ids=lambda rows: "-".join(map(str, _settings(rows[0]))))
def test_inputs_are_those_of_mmcv(tmp_path: Path, arm64: Path, rows: list[dict[str, Any]]) -> None:
    size, channels, padding = _settings(rows[0])
    content = jobs.job(
        tmp_path,
        drawn(tmp_path, rows),
        input=jobs.square(size),
        preprocess={
            "mean": list(MEAN), "std": list(STD), "channels": channels, "padding": padding,
        },
    )  # fmt: skip
    found = list(digests(there(arm64, "bins-write", content, tmp_path)))
    assert found == [row["sha256"] for row in rows]


def test_inputs_of_several_shapes_are_those_of_mmdet(tmp_path: Path, arm64: Path) -> None:
    rows = MMDET["inputs"][::2]
    content = jobs.job(
        tmp_path,
        drawn(tmp_path, rows),
        input=PUBLIC,
        preprocess={"mean": list(MEAN), "std": list(STD), "padding": "corner"},
    )
    content["networks"] *= 2
    found = list(digests(there(arm64, "bins-write", content, tmp_path)))
    assert found == [row["sha256"] for row in rows]


def test_inputs_of_real_pictures_are_the_same(tmp_path: Path, arm64: Path, shared: Path) -> None:
    folder = shared / "coco26"
    truth = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    listed = sorted(truth["images"], key=lambda one: str(one["file_name"]))[:4]
    items = [jobs.item(e["id"], e["file_name"], e["width"], e["height"]) for e in listed]
    content = jobs.job(
        folder / "val2017",
        items,
        input=jobs.square(1216),
        preprocess={"mean": list(MEAN), "std": list(STD)},
    )
    write_bins(jobs.checked(content), str(tmp_path / "here"))
    other = there(arm64, "bins-write", content, tmp_path)
    assert list(digests(other)) == list(digests(tmp_path / "here"))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_pass_leaves_the_same_detections_and_geometry(
    tmp_path: Path, arm64: Path, dtype: str
) -> None:
    content = jobs.small(tmp_path, input={"dtype": dtype}, draw=1)
    run(jobs.checked(content), str(tmp_path / "here"))
    other = there(arm64, "run", content, tmp_path)
    for name in ("detections.json", "geometry.jsonl"):
        assert (other / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert json.loads((other / "run.json").read_text())["environment"]["machine"] == "aarch64"


def test_the_self_check(arm64: Path) -> None:
    done = jobs.call("selfcheck", python=arm64)
    assert done.returncode == 0, done.stdout + done.stderr
