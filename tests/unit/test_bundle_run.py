"""A job from file to results, with a network whose boxes come from the pixels."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.digest import bundle_digest
from bundle.errors import BundleError
from bundle.geometry import fit, read_geometry
from bundle.job import Job
from bundle.run import run
from bundle.runners import Outputs
from tests.helpers import bundle_jobs as jobs

FULL = Path("/dev/full")


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def assert_found(content: dict[str, Any], out: Path) -> None:
    """Every picture's red rectangle, within a pixel of the network, and nothing else."""
    rows = {row["image_id"]: row for row in load(out / "detections.json")}
    assert len(rows) == len(load(out / "detections.json")) == len(content["pictures"]["items"])
    for item in content["pictures"]["items"]:
        row = rows[item["id"]]
        x1, y1, x2, y2 = jobs.rectangle(item["width"], item["height"])
        pixel = max(item["width"], item["height"]) / jobs.SIZE
        assert row["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1.01 * pixel)
        assert row["category_id"] == 3
        assert row["score"] == pytest.approx(0.9)


@pytest.mark.parametrize("padding", ["centre", "corner"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_boxes_are_where_the_pixels_are(tmp_path: Path, dtype: str, padding: str) -> None:
    content = jobs.small(tmp_path, input={"dtype": dtype}, preprocess={"padding": padding})
    run(jobs.checked(content), str(tmp_path / "out"))
    assert_found(content, tmp_path / "out")


def test_channels_in_the_order_of_the_card(tmp_path: Path) -> None:
    """A red rectangle is in channel 2 of BGR: label 2, category 5."""
    content = jobs.small(tmp_path, preprocess={"channels": "bgr"})
    run(jobs.checked(content), str(tmp_path / "out"))
    rows = load(tmp_path / "out" / "detections.json")
    assert {row["category_id"] for row in rows} == {5}


def test_what_a_pass_leaves(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, draw=2)
    done = jobs.call("run", jobs.write(tmp_path / "job.json", content), tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "conditions.csv",
        "detections.json",
        "drawn",
        "geometry.jsonl",
        "pictures.jsonl",
        "run.json",
        "times.csv",
    ]
    assert_found(content, out)

    record = load(out / "run.json")
    assert (record["status"], record["problems"], record["skipped"]) == ("complete", [], [])
    assert (record["pictures"], record["warmup"], record["simulated"]) == (5, 1, False)
    assert record["digests"] == {
        "bundle": bundle_digest(),
        "network": content["networks"][0]["sha256"],
    }
    assert record["environment"]["providers"] == ["CPUExecutionProvider"]
    assert record["environment"]["threads"] == 1
    assert record["peak_rss_bytes"] > 10_000_000
    summary = record["summary"]
    assert summary["latency_ms"]["n"] == 5
    assert [one["pictures"] for one in summary["repeats"]] == [3, 3]

    rows = list(csv.DictReader((out / "times.csv").open()))
    ids = [str(item["id"]) for item in content["pictures"]["items"]]
    assert [(row["pass"], row["id"]) for row in rows] == [
        *(("1", one) for one in ids),
        *(("2", one) for one in ids[:3]),
    ]
    device = [float(row["device_ms"]) for row in rows[:5]]
    assert summary["device_ips"] == pytest.approx(1000 / np.mean(device), rel=1e-3)
    assert {row["h2d_ms"] for row in rows} == {""}

    geometries = read_geometry(str(out / "geometry.jsonl"))
    job = jobs.checked(content)
    assert list(geometries.values()) == [fit(one, job.preprocess) for one in job.pictures]
    drawn = cv2.imread(str(out / "drawn" / f"{ids[1]}.jpg"))
    assert drawn.shape == (64, 48, 3)
    assert len(list((out / "drawn").iterdir())) == 2


def test_what_is_said_on_standard_output(tmp_path: Path) -> None:
    path = jobs.write(tmp_path / "job.json", jobs.small(tmp_path))
    events = jobs.events(jobs.call("run", path, tmp_path / "out").stdout)
    assert events[-1] == {"event": "done"}
    counts: dict[str, list[int]] = {}
    for one in events[:-1]:
        assert one["event"] == "progress"
        counts.setdefault(one["phase"], []).append(one["done"])
        assert one["done"] <= one["total"]
    assert list(counts) == ["warmup", "scored", "repeat 2/2"]
    assert [(done[0], done[-1]) for done in counts.values()] == [(0, 1), (0, 5), (0, 3)]


def test_names_with_spaces_and_letters_and_folders(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    root = tmp_path / "pictures ü"
    content["pictures"] = {
        "root": str(root),
        "items": jobs.write_pictures(root, name="fol der/pïcture {} 写真.v2.png"),
    }
    out = tmp_path / "oüt put"
    done = jobs.call("run", jobs.write(tmp_path / "jöb.json", content), out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_found(content, out)
    assert read_geometry(str(out / "geometry.jsonl"))[7].file == "fol der/pïcture 0 写真.v2.png"


def test_the_same_job_gives_the_same_detections_whatever_the_threads(tmp_path: Path) -> None:
    texts = set()
    for number, stream in enumerate([(1, 1), (3, 1), (4, 8)]):
        content = jobs.small(tmp_path, stream={"workers": stream[0], "queue": stream[1]})
        run(jobs.checked(content), str(tmp_path / str(number)))
        texts.add((tmp_path / str(number) / "detections.json").read_text())
    assert len(texts) == 1


def test_a_bad_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    bad = tmp_path / "pictures" / "3.png"
    bad.write_bytes(bad.read_bytes()[:40])
    done = jobs.call("run", jobs.write(tmp_path / "job.json", content), tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("Traceback") == 0
    events = jobs.events(done.stdout)[-1]
    assert events["event"] == "error"
    assert events["where"] == str(bad)
    assert not (tmp_path / "out" / "run.json").exists()
    assert not (tmp_path / "out" / "detections.json").exists()


def test_bad_pictures_are_skipped_counted_and_listed(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, keep_going=True)
    pictures = tmp_path / "pictures"
    (pictures / "0.png").write_bytes(b"")
    (pictures / "2.png").unlink()
    jpeg = cv2.imencode(".jpg", cv2.imread(str(pictures / "3.png")))[1].tobytes()
    (pictures / "3.png").write_bytes(jpeg[:-90] + jpeg[-2:])
    record = run(jobs.checked(content), str(tmp_path / "out"))
    assert record["status"] == "partial"
    assert record["pictures"] == 2
    assert record["problems"] == ["3 of 5 pictures were skipped: 0.png, 2.png, 3.png"]
    assert record["skipped"] == [
        {"id": 7, "file": "0.png", "reason": "The picture is empty: 0 bytes."},
        {"id": 27, "file": "2.png", "reason": "The picture is missing."},
        {
            "id": 37,
            "file": "3.png",
            "reason": "The picture is damaged: its JPEG decoder warns about missing or wrong pixel "
            "data.",
        },
    ]
    content["pictures"]["items"] = [content["pictures"]["items"][n] for n in (1, 4)]
    assert_found(content, tmp_path / "out")


def test_a_set_without_a_usable_picture_has_no_numbers(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, keep_going=True)
    for path in (tmp_path / "pictures").iterdir():
        path.write_bytes(b"")
    record = run(jobs.checked(content), str(tmp_path / "out"))
    assert (record["pictures"], record["warmup"], record["status"]) == (0, 0, "partial")
    assert record["summary"]["device_ips"] is None
    assert load(tmp_path / "out" / "detections.json") == []


def test_an_earlier_record_does_not_vouch_for_a_failed_run(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    run(jobs.checked(content), str(tmp_path / "out"))
    (tmp_path / "pictures" / "4.png").write_bytes(b"")
    with pytest.raises(BundleError, match="is empty"):
        run(jobs.checked(content), str(tmp_path / "out"))
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize("keep_going", [False, True])
def test_an_output_that_is_no_number_names_picture_and_output(
    tmp_path: Path, keep_going: bool
) -> None:
    """The network is to blame, not the picture: nothing is skipped."""
    content = jobs.small(tmp_path, keep_going=keep_going)
    count = [0]

    def answer(batch: np.ndarray) -> Outputs:
        count[0] += 1
        boxes = np.full((1, 5), np.nan if count[0] == 4 else 0, np.float32)
        return Outputs(boxes, np.zeros(1, np.int64))

    with pytest.raises(BundleError) as caught:
        run(jobs.checked(content), str(tmp_path / "out"), lambda job: jobs.Scripted(answer))
    assert "'boxes' contains NaN" in caught.value.what
    assert caught.value.where == f"picture {tmp_path}/pictures/2.png"  # one of them was warm-up


def test_another_network_than_the_jobs(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    content["networks"][0]["sha256"] = "0" * 64
    with pytest.raises(BundleError, match="is not the one in the job"):
        run(jobs.checked(content), str(tmp_path / "out"))
    content["networks"][0]["path"] = str(tmp_path / "absent.onnx")
    with pytest.raises(BundleError, match="cannot be read"):
        run(jobs.checked(content), str(tmp_path / "out"))


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "name", ["detections.json.part", "times.csv", "geometry.jsonl", "pictures.jsonl"]
)
def test_a_full_disk_ends_the_run_and_names_the_file(tmp_path: Path, name: str) -> None:
    """/dev/full answers every write as a full disk does."""
    sizes = [(40, 30)] * 400
    content = jobs.small(tmp_path)
    content["pictures"]["items"] = jobs.write_pictures(tmp_path / "pictures", sizes)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(FULL)
    done = jobs.call("run", jobs.write(tmp_path / "job.json", content), tmp_path / "out")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    events = jobs.events(done.stdout)
    assert events[-1]["what"] == "A result cannot be written: No space left on device."
    assert events[-1]["where"] == str(tmp_path / "out" / name)
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        run(jobs.checked(content), str(tmp_path / "file" / "out"))


def start(tmp_path: Path, count: int = 20000) -> subprocess.Popen[str]:
    """A run that would take minutes, after its scored pass has begun."""
    content = jobs.small(tmp_path)
    first = content["pictures"]["items"][0]
    content["pictures"]["items"] = [{**first, "id": n} for n in range(count)]
    process = subprocess.Popen(
        jobs.command("run", jobs.write(tmp_path / "job.json", content), tmp_path / "out"),
        env=jobs.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event.get("phase") == "scored" and event["done"] > 0:
            break
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_without_a_traceback(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_reader_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_an_internal_error_is_reported_and_traced_on_request(tmp_path: Path) -> None:
    """A runtime that is broken in an unforeseen way: an onnxruntime that cannot be imported."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "onnxruntime.py").write_text("raise RuntimeError('wrong libc')\n")
    path = jobs.write(tmp_path / "job.json", jobs.small(tmp_path))
    environment = jobs.environment()
    environment["PYTHONPATH"] = str(broken) + os.pathsep + environment["PYTHONPATH"]
    for flags, traced in (([], False), (["--debug"], True)):
        done = subprocess.run(
            jobs.command(*flags, "run", path, tmp_path / "out"),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "RuntimeError: wrong libc" in jobs.events(done.stdout)[-1]["what"]
        assert ("Traceback" in done.stderr) == traced


def test_the_loader_is_given_the_job(tmp_path: Path) -> None:
    job = jobs.checked(jobs.small(tmp_path))
    seen: list[Job] = []

    def load(given: Job) -> jobs.Scripted:
        seen.append(given)
        return jobs.Scripted(jobs.nothing)

    record = run(job, str(tmp_path / "out"), load)
    assert seen == [job]
    assert record["environment"]["runtime"] == "scripted"


def test_the_digests_are_those_of_what_was_evaluated(tmp_path: Path) -> None:
    """A picture that is replaced before it is read for the scored pass, and again after that."""
    content = jobs.small(tmp_path, keep_going=True, measure={"warmup": 1, "repeats": 2})
    items = content["pictures"]["items"]
    paths = [tmp_path / "pictures" / item["file"] for item in items]
    paths[3].write_bytes(b"")
    ran = [0]

    def answer(batch: np.ndarray) -> Outputs:
        ran[0] += 1
        if ran[0] in (1, 5):
            # In the warm-up, and when the last picture has just been read for the scored pass.
            jobs.write_picture(paths[4], items[4]["width"], items[4]["height"], channel=ran[0] // 4)
        return jobs.nothing(batch)

    job = jobs.checked({**content, "stream": {"workers": 1, "queue": 1}})
    before = paths[4].read_bytes()
    run(job, str(tmp_path / "out"), lambda job: jobs.Scripted(answer))
    assert paths[4].read_bytes() != before
    lines = (tmp_path / "out" / "pictures.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    # Without that which was skipped, in the order of the job.
    assert [(row["id"], row["file"]) for row in rows] == [
        (item["id"], item["file"]) for item in items if item is not items[3]
    ]
    for row, path in zip(rows[:3], paths[:3], strict=True):
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    after = hashlib.sha256(paths[4].read_bytes()).hexdigest()
    assert rows[3]["sha256"] not in (hashlib.sha256(before).hexdigest(), after)


def test_a_start_is_that_of_the_process(tmp_path: Path) -> None:
    """Imports are a part of what a start costs; a sleep before them shows that they are counted."""
    code = (
        "import sys, time; time.sleep(0.7); from bundle.environment import process_began; "
        "print(time.monotonic() - process_began())"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=jobs.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    took = time.monotonic() - began
    assert 0.68 <= float(done.stdout) <= took + 0.02
