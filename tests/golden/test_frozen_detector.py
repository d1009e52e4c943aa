"""A real detector on real pictures: the frozen program finds what the evaluated run found."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder
from tests.helpers.frozen_server import serving


def test_nanodet_frozen(shared: Path, tmp_path: Path) -> None:
    """The 26 pictures by `infer`, in two shards and whole, and five of them by `serve`."""
    pictures = shared / "coco26" / "val2017"
    annotations = shared / "coco26" / "annotations" / "instances_val2017.json"
    truth = json.loads(annotations.read_text(encoding="utf-8"))
    categories = sorted(truth["categories"], key=lambda one: one["id"])
    images = sorted(truth["images"], key=lambda one: one["file_name"])
    content = jobs.job(
        pictures,
        [jobs.item(one["id"], one["file_name"], one["width"], one["height"]) for one in images],
        shared / "detector" / "nanodet_m.onnx",
        input=jobs.square(416),
        preprocess={
            "mean": [103.53, 116.28, 123.675],
            "std": [57.375, 57.12, 58.395],
            "channels": "bgr",
        },
        classes=[{"name": one["name"], "category_id": one["id"]} for one in categories],
        measure={"warmup": 0, "repeats": 1, "repeat_pictures": 1},
    )
    folder = frozen_folder.freeze(tmp_path / "frozen", content)
    frozen_folder.add_golden(folder, content, tmp_path / "run")
    run = (tmp_path / "run" / "detections.json").read_bytes()
    done = frozen_folder.call(folder, "infer", pictures, tmp_path / "out", "--format", "coco")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "detections.json").read_bytes() == run
    lines = (tmp_path / "out" / "detections.jsonl").read_text().splitlines()
    shards = []
    for index in (1, 2):
        shard = ("--shard", f"{index}/2")
        done = frozen_folder.call(folder, "infer", pictures, tmp_path / "shards", *shard)
        assert done.returncode == 0, done.stderr
        path = tmp_path / "shards" / f"detections.{index}-of-2.jsonl"
        shards.append(path.read_text().splitlines())
    assert [line for pair in zip(*shards, strict=True) for line in pair] == lines
    done = frozen_folder.call(folder, "merge", tmp_path / "shards", "--format", "coco")
    assert done.returncode == 0, done.stderr
    for name in ("detections.jsonl", "detections.json", "pictures.json", "infer.json"):
        merged, whole = (tmp_path / side / name for side in ("shards", "out"))
        assert merged.read_bytes() == whole.read_bytes(), name
    with serving(folder) as server:
        for line in map(json.loads, lines[:5]):
            found = server.ask("/v1/detect", (pictures / line["file"]).read_bytes()).json
            assert found["detections"] == line["detections"]
