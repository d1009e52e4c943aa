"""A real detector on real pictures through the bundle alone: its published accuracy."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bundle.job import check_job
from bundle.run import run
from bundle.sharded.merge import merge
from bundle.sharded.work import run_shard
from bundle.shards import Shard
from tests.helpers import bundle_jobs as jobs


def test_nanodet_on_coco(shared: Path, tmp_path: Path) -> None:
    """AP 0.3274 and AP50 0.4972 by the detector's own code and pycocotools."""
    annotations = shared / "coco26" / "annotations" / "instances_val2017.json"
    truth = json.loads(annotations.read_text(encoding="utf-8"))
    model = shared / "detector" / "nanodet_m.onnx"
    categories = sorted(truth["categories"], key=lambda one: one["id"])
    content = jobs.job(
        shared / "coco26" / "val2017",
        [
            jobs.item(one["id"], one["file_name"], one["width"], one["height"])
            for one in truth["images"]
        ],
        model,
        input=jobs.square(416),
        preprocess={
            "mean": [103.53, 116.28, 123.675],
            "std": [57.375, 57.12, 58.395],
            "channels": "bgr",
            "padding": "centre",
        },
        classes=[{"name": one["name"], "category_id": one["id"]} for one in categories],
        measure={"warmup": 1, "repeats": 1, "repeat_pictures": 1},
    )
    assert content["networks"][0]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    record = run(check_job(content, "/"), str(tmp_path))
    assert record["pictures"] == 26
    # In shards, merged, the very bytes.
    path = jobs.write(tmp_path / "job.json", content)
    for index in range(1, 5):
        run_shard(str(path), str(tmp_path / "shards"), Shard(index, 4))
    merge(str(path), str(tmp_path / "shards"))
    for name in ("detections.json", "geometry.jsonl", "pictures.jsonl"):
        assert (tmp_path / "shards" / name).read_bytes() == (tmp_path / name).read_bytes(), name
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(annotations))
        evaluation = COCOeval(coco, coco.loadRes(str(tmp_path / "detections.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(0.3274, abs=0.003)
    assert evaluation.stats[1] == pytest.approx(0.4972, abs=0.003)
