"""The folders of ais_infer users: written, read, and held against the streaming pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.errors import BundleError
from bundle.run import run
from bundle.runners import open_runner
from bundle.runners.aclruntime.bins import read_bins, write_bins
from tests.helpers import bundle_jobs as jobs


def infer(content: dict[str, Any], out: Path, labels: type = np.int64) -> Path:
    """What ais_infer does: `<stem>.bin` through the network, `<stem>_0.bin`, `<stem>_1.bin` out."""
    job = jobs.checked(content)
    runner = open_runner(job)
    results = out / "2022_09_15-10_00_00"
    results.mkdir()
    for path in (out / "bins").iterdir():
        batch = np.fromfile(path, job.preprocess.dtype)
        batch = batch.reshape(job.preprocess.batch(job.preprocess.shapes[0]))
        outputs = runner.run(batch)
        stem = path.name.split(".")[0]
        outputs.boxes.tofile(results / f"{stem}_0.bin")
        outputs.labels.astype(labels).tofile(results / f"{stem}_1.bin")
    return results


@pytest.mark.parametrize("labels", [np.int64, np.int32])
def test_by_way_of_the_folders_the_detections_are_the_same(tmp_path: Path, labels: type) -> None:
    content = jobs.small(tmp_path)
    job = jobs.checked(content)
    run(job, str(tmp_path / "streamed"))
    out = tmp_path / "out"
    write_bins(job, str(out))
    assert {path.stat().st_size for path in (out / "bins").iterdir()} == {4 * 3 * jobs.SIZE**2}
    read_bins(job, str(infer(content, out, labels)), str(out))
    streamed = (tmp_path / "streamed" / "detections.json").read_text()
    assert (out / "detections.json").read_text() == streamed

    digests = (out / "pictures.jsonl").read_bytes()
    assert digests == (tmp_path / "streamed" / "pictures.jsonl").read_bytes()
    assert (out / "bins.info").read_text().splitlines()[1] == f"1 {out}/bins/1.bin 96 96"
    assert (out / "pictures.info").read_text().splitlines()[4] == f"4 {job.root}/4.png 33 150"
    (line,) = (out / "txt" / "4.txt").read_text().splitlines()
    name, score, *corners = line.rsplit(" ", 5)
    assert name == "red thing"
    assert float(score) == pytest.approx(0.9)
    row = json.loads(streamed)[4]
    x, y, width, height = row["bbox"]
    assert [float(one) for one in corners] == pytest.approx([x, y, x + width, y + height], abs=2e-4)

    record = json.loads((out / "run.json").read_text())
    assert (record["status"], record["pictures"], record["warmup"]) == ("complete", 5, 0)
    assert record["summary"]["device_ips"] is None


def test_geometry_is_read_not_computed(tmp_path: Path) -> None:
    """Another geometry on disk moves the boxes."""
    content = jobs.small(tmp_path)
    job, out = jobs.checked(content), tmp_path / "out"
    write_bins(job, str(out))
    results = infer(content, out)
    read_bins(job, str(results), str(out))
    before = json.loads((out / "detections.json").read_text())[0]["bbox"][0]
    lines = [json.loads(line) for line in (out / "geometry.jsonl").read_text().splitlines()]
    lines[0]["left"] -= 3
    (out / "geometry.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    read_bins(job, str(results), str(out))
    after = json.loads((out / "detections.json").read_text())[0]["bbox"][0]
    assert after == pytest.approx(before + 3 / lines[0]["scale_x"], abs=1e-3)


def test_names_are_cut_at_their_first_dot_like_ais_infer_does(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    root = tmp_path / "named"
    items = jobs.write_pictures(root, name="pïc {} ü.2022.v1.png")
    content["pictures"] = {"root": str(root), "items": items}
    job, out = jobs.checked(content), tmp_path / "o ut"
    write_bins(job, str(out))
    assert (out / "bins" / "pïc 0 ü.bin").exists()
    read_bins(job, str(infer(content, out)), str(out))
    assert len(json.loads((out / "detections.json").read_text())) == 5
    first = (out / "pictures.info").read_text(encoding="utf-8").splitlines()[0]
    index, rest = first.split(" ", 1)
    path, width, height = rest.rsplit(" ", 2)
    assert (index, path, width, height) == ("0", f"{root}/pïc 0 ü.2022.v1.png", "64", "48")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.1.png", "a.2.png"], "share a.bin"),
        (["x/a.png", "y/a.png"], "share a.bin"),
        ([".png", "b.png"], "starts with a dot"),
    ],
)
def test_names_that_give_one_stem(tmp_path: Path, names: list[str], message: str) -> None:
    items = [jobs.item(index, name, 8, 8) for index, name in enumerate(names)]
    job = jobs.checked(jobs.job(tmp_path, items))
    with pytest.raises(BundleError, match=message):
        write_bins(job, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_bad_picture_is_an_error_or_is_left_out(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    (tmp_path / "pictures" / "1.png").write_bytes(b"")
    out = tmp_path / "out"
    with pytest.raises(BundleError, match="is empty"):
        write_bins(jobs.checked(content), str(out))
    job = jobs.checked({**content, "keep_going": True})
    write_bins(job, str(out))
    lines = (out / "bins.info").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    read_bins(job, str(infer(content, out)), str(out))
    record = json.loads((out / "run.json").read_text())
    assert record["pictures"] == 4
    assert record["skipped"] == [
        {"id": 17, "file": "1.png", "reason": "The picture has no geometry."}
    ]


def ready(tmp_path: Path) -> tuple[dict[str, Any], Path, Path]:
    content = jobs.small(tmp_path)
    out = tmp_path / "out"
    write_bins(jobs.checked(content), str(out))
    return content, out, infer(content, out)


def test_an_output_that_is_missing(tmp_path: Path) -> None:
    content, out, results = ready(tmp_path)
    (results / "3_1.bin").unlink()
    with pytest.raises(BundleError, match=r"wrote no 3_1\.bin"):
        read_bins(jobs.checked(content), str(results), str(out))
    read_bins(jobs.checked({**content, "keep_going": True}), str(results), str(out))
    record = json.loads((out / "run.json").read_text())
    assert record["problems"] == ["1 of 5 pictures were skipped: 3.png"]


@pytest.mark.parametrize("size", [99, 96, 7])
def test_an_output_of_another_size(tmp_path: Path, size: int) -> None:
    content, out, results = ready(tmp_path)
    (results / "0_0.bin").write_bytes(b"\0" * size)
    with pytest.raises(BundleError, match=f"Boxes of {size} bytes"):
        read_bins(jobs.checked(content), str(results), str(out))


def test_an_output_that_is_no_number(tmp_path: Path) -> None:
    content, out, results = ready(tmp_path)
    np.full((5, 5), np.nan, np.float32).tofile(results / "0_0.bin")
    with pytest.raises(BundleError, match="contains NaN"):
        read_bins(jobs.checked(content), str(results), str(out))


@pytest.mark.parametrize("pattern", ["input{}_output", "sample_id_{}_output"])
def test_numbered_results_of_an_older_ais_infer(tmp_path: Path, pattern: str) -> None:
    content, out, results = ready(tmp_path)
    files = {}
    for number, item in enumerate(reversed(content["pictures"]["items"])):
        stem = item["file"].split(".")[0]
        outputs = [results / f"{pattern.format(number)}_{i}.bin" for i in range(2)]
        for index, path in enumerate(outputs):
            (results / f"{stem}_{index}.bin").rename(path)
        files[number] = {"infiles": [f"/in/{stem}.bin"], "outfiles": [str(p) for p in outputs]}
    job = jobs.checked(content)
    with pytest.raises(BundleError, match="numbered") as caught:
        read_bins(job, str(results), str(out))
    assert "sumary.json" in caught.value.next
    # Its summary says whose they are.
    (results / "sumary.json").write_text(json.dumps({"filesinfo": files}))
    read_bins(job, str(results), str(out))
    run(job, str(tmp_path / "streamed"))
    streamed = (tmp_path / "streamed" / "detections.json").read_text()
    assert (out / "detections.json").read_text() == streamed
    (results / "sumary.json").write_text(json.dumps({"filesinfo": [1]}))
    with pytest.raises(BundleError, match="does not say which output is whose"):
        read_bins(job, str(results), str(out))


def test_without_the_folder_or_the_geometry(tmp_path: Path) -> None:
    content, out, results = ready(tmp_path)
    with pytest.raises(BundleError, match="results of ais_infer cannot be read"):
        read_bins(jobs.checked(content), str(tmp_path / "absent"), str(out))
    (out / "geometry.jsonl").unlink()
    with pytest.raises(BundleError, match="geometry of the pictures cannot be read"):
        read_bins(jobs.checked(content), str(results), str(out))


def test_from_the_command_line(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    path, out = jobs.write(tmp_path / "job.json", content), tmp_path / "out"
    written = jobs.call("bins-write", path, out)
    assert (written.returncode, jobs.events(written.stdout)[-1]) == (0, {"event": "done"})
    read = jobs.call("bins-read", path, infer(content, out), out)
    assert (read.returncode, jobs.events(read.stdout)[-1]) == (0, {"event": "done"})
    assert len(json.loads((out / "detections.json").read_text())) == 5
    failed = jobs.call("bins-read", path, tmp_path / "absent", out)
    assert failed.returncode == 2
