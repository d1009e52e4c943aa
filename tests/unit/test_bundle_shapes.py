"""Inputs of several shapes: every picture goes to the network of its own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.digest import joint_digest
from bundle.errors import BundleError
from bundle.geometry import read_geometry
from bundle.run import run
from bundle.runners import Outputs, open_runner
from bundle.runners.aclruntime.bins import read_bins, write_bins
from bundle.runners.onnxruntime import session as onnx_session
from tests.helpers import bundle_jobs as jobs
from tests.helpers import tiny_model

WIDE, HIGH = jobs.ORIENTED


def shape_of(width: int, height: int) -> tuple[int, int]:
    """A picture's input; squares take the first."""
    return HIGH if height > width else WIDE


def assert_found(content: dict[str, Any], out: Path) -> None:
    """Every picture's red rectangle, within a pixel of its network, and nothing else."""
    rows = {row["image_id"]: row for row in json.loads((out / "detections.json").read_text())}
    assert set(rows) == {item["id"] for item in content["pictures"]["items"]}
    for item in content["pictures"]["items"]:
        edges = item["width"], item["height"]
        x1, y1, x2, y2 = jobs.rectangle(*edges)
        pixel = max(max(edges) / jobs.RESIZE[0], min(edges) / jobs.RESIZE[1])
        wanted = [x1, y1, x2 - x1, y2 - y1]
        assert rows[item["id"]]["bbox"] == pytest.approx(wanted, abs=1.01 * pixel)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("padding", ["centre", "corner"])
def test_boxes_are_where_the_pixels_are(tmp_path: Path, dtype: str, padding: str) -> None:
    changes = {"input": {"dtype": dtype}, "preprocess": {"padding": padding}}
    content = jobs.oriented(tmp_path, **changes)
    record = run(jobs.checked(content), str(tmp_path / "here"))
    assert_found(content, tmp_path / "here")
    geometries = read_geometry(str(tmp_path / "here" / "geometry.jsonl"))
    found = {one: geometry.shape for one, geometry in geometries.items()}
    items = content["pictures"]["items"]
    assert found == {item["id"]: shape_of(item["width"], item["height"]) for item in items}
    assert set(found.values()) == {WIDE, HIGH}
    assert record["digests"]["network"] == joint_digest(
        [one["sha256"] for one in content["networks"]]
    )

    content["runner"]["options"] = {"own_process": True}
    run(jobs.checked(content), str(tmp_path / "process"))
    here, process = (tmp_path / name / "detections.json" for name in ("here", "process"))
    assert here.read_bytes() == process.read_bytes()


def test_one_network_of_several_changes_the_digest() -> None:
    assert joint_digest(["a"]) == "a"
    assert len({joint_digest(["a", "b"]), joint_digest(["b", "a"]), joint_digest(["a", "c"])}) == 3


def test_every_network_is_warm_before_the_first_time_is_taken(tmp_path: Path) -> None:
    """Also where the first pictures are all wide, and the same picture comes again."""
    content = jobs.oriented(tmp_path, measure={"warmup": 3, "repeats": 1})
    sizes = [(96, 50)] * 6 + [(50, 96)]
    content["pictures"]["items"] = jobs.write_pictures(tmp_path / "pictures", sizes)
    seen: list[tuple[int, ...]] = []

    def answer(batch: np.ndarray) -> Outputs:
        seen.append(batch.shape[2:])
        return jobs.nothing(batch)

    record = run(jobs.checked(content), str(tmp_path / "out"), lambda job: jobs.Scripted(answer))
    assert Counter(seen[:6]) == {WIDE: 3, HIGH: 3}
    assert seen[6:] == [WIDE] * 6 + [HIGH]
    assert (record["warmup"], record["pictures"]) == (6, 7)


def test_networks_in_another_order_than_their_shapes(tmp_path: Path) -> None:
    content = jobs.oriented(tmp_path)
    content["networks"].reverse()
    with pytest.raises(BundleError, match=r"'input' is not float32 \(1,3,64,96\)") as caught:
        open_runner(jobs.checked(content))
    assert caught.value.where == content["networks"][0]["path"]


def test_a_network_that_cannot_be_loaded_closes_those_that_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = jobs.oriented(tmp_path)
    Path(content["networks"][1]["path"]).write_bytes(b"no network")
    closed = []
    close = onnx_session.OnnxruntimeRunner.close
    monkeypatch.setattr(
        onnx_session.OnnxruntimeRunner, "close", lambda self: (closed.append(self), close(self))
    )
    with pytest.raises(BundleError, match="cannot load the network") as caught:
        open_runner(jobs.checked(content))
    assert caught.value.where == content["networks"][1]["path"]
    assert len(closed) == 1


@pytest.mark.parametrize("number", [0, 1])
def test_every_network_is_held_against_its_digest(tmp_path: Path, number: int) -> None:
    content = jobs.oriented(tmp_path)
    content["networks"][number]["sha256"] = "0" * 64
    with pytest.raises(BundleError, match="is not the one in the job") as caught:
        run(jobs.checked(content), str(tmp_path / "out"))
    assert caught.value.where == content["networks"][number]["path"]


def infer(content: dict[str, Any], out: Path) -> Path:
    """What ais_infer does, once for each network: over its folder, into one of the same name."""
    job = jobs.checked(content)
    runner = open_runner(job)
    for shape in job.preprocess.shapes:
        results = out / "results" / shape.name
        results.mkdir(parents=True)
        for path in (out / "bins" / shape.name).iterdir():
            batch = np.fromfile(path, job.preprocess.dtype).reshape(job.preprocess.batch(shape))
            outputs = runner.run(batch)
            outputs.boxes.tofile(results / f"{path.stem}_0.bin")
            outputs.labels.tofile(results / f"{path.stem}_1.bin")
    return out / "results"


def test_the_folders_of_ais_infer(tmp_path: Path) -> None:
    content = jobs.oriented(tmp_path)
    job, out = jobs.checked(content), tmp_path / "out"
    run(job, str(tmp_path / "streamed"))
    write_bins(job, str(out))
    assert sorted(path.name for path in (out / "bins").iterdir()) == ["64x96", "96x64"]
    lines = (out / "bins.info").read_text().splitlines()
    assert lines[0] == f"0 {out}/bins/64x96/0.bin 96 64"
    assert lines[1] == f"1 {out}/bins/96x64/1.bin 64 96"
    results = infer(content, out)
    read_bins(job, str(results), str(out))
    streamed = (tmp_path / "streamed" / "detections.json").read_bytes()
    assert (out / "detections.json").read_bytes() == streamed

    (results / "96x64").rename(results / "elsewhere")
    with pytest.raises(BundleError, match="cannot be read") as caught:
        read_bins(job, str(results), str(out))
    assert caught.value.where == str(results / "96x64")


def test_geometry_of_another_job_is_no_geometry(tmp_path: Path) -> None:
    content = jobs.oriented(tmp_path)
    out = tmp_path / "out"
    write_bins(jobs.checked(content), str(out))
    results = infer(content, out)
    with pytest.raises(BundleError, match="no network for 64x96"):
        read_bins(jobs.checked(jobs.small(tmp_path)), str(results), str(out))


def test_the_threads_of_one_network_do_not_spin_while_another_runs(tmp_path: Path) -> None:
    several, one = jobs.checked(jobs.oriented(tmp_path)), jobs.checked(jobs.small(tmp_path))
    key = "session.force_spinning_stop"
    assert onnx_session._session_options(several).get_session_config_entry(key) == "1"
    with pytest.raises(RuntimeError):
        onnx_session._session_options(one).get_session_config_entry(key)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("padding", ["centre", "corner"])
def test_every_picture_in_its_own_shape(tmp_path: Path, dtype: str, padding: str) -> None:
    changes = {"input": {"dtype": dtype}, "preprocess": {"padding": padding}}
    content = jobs.own(tmp_path, 8, **changes)
    run(jobs.checked(content), str(tmp_path / "here"))
    assert_found(content, tmp_path / "here")
    geometries = read_geometry(str(tmp_path / "here" / "geometry.jsonl")).values()
    for one in geometries:
        assert one.input_width == -(-one.resized_width // 8) * 8
        assert one.input_height == -(-one.resized_height // 8) * 8
    assert len({one.shape for one in geometries}) > 2
    content["runner"]["options"] = {"own_process": True}
    run(jobs.checked(content), str(tmp_path / "process"))
    here, process = (tmp_path / name / "detections.json" for name in ("here", "process"))
    assert here.read_bytes() == process.read_bytes()


def test_one_network_serves_several_fixed_shapes(tmp_path: Path) -> None:
    content = jobs.oriented(tmp_path)
    run(jobs.checked(content), str(tmp_path / "each"))
    path = tiny_model.save(tmp_path / "every.onnx", size=None)
    content["networks"] = [jobs.file(path)]
    record = run(jobs.checked(content), str(tmp_path / "one"))
    each, one = (tmp_path / name for name in ("each", "one"))
    for name in ("detections.json", "geometry.jsonl"):
        assert (each / name).read_bytes() == (one / name).read_bytes()
    assert record["digests"]["network"] == content["networks"][0]["sha256"]


def test_a_network_of_one_shape_cannot_serve_all(tmp_path: Path) -> None:
    content = jobs.oriented(tmp_path)
    del content["networks"][1]
    with pytest.raises(BundleError, match=r"not float32 \(1,3,\?,\?\), with open sizes"):
        open_runner(jobs.checked(content))


def test_a_hundred_shapes_do_not_make_a_hundred_warm_ups(tmp_path: Path) -> None:
    """One picture of each of the most frequent shapes."""
    content = jobs.own(tmp_path, 8, measure={"warmup": 3, "repeats": 1})
    sizes = [(90, 60)] * 3 + [(60, 90)] * 2 + [(90, 10 + 8 * number) for number in range(6)]
    content["pictures"]["items"] = jobs.write_pictures(tmp_path / "pictures", sizes)
    seen: list[tuple[int, ...]] = []

    def answer(batch: np.ndarray) -> Outputs:
        seen.append(batch.shape[2:])
        return jobs.nothing(batch)

    record = run(jobs.checked(content), str(tmp_path / "out"), lambda job: jobs.Scripted(answer))
    assert seen[:3] == [(64, 96), (96, 64), (16, 96)]
    assert (record["warmup"], record["pictures"]) == (3, 11)


def test_which_arrays_are_inputs(tmp_path: Path) -> None:
    preprocess = jobs.checked(jobs.own(tmp_path)).preprocess
    assert preprocess.shape_of((1, 3, 64, 96)) == (64, 96)
    assert preprocess.shape_of((1, 3, 32, 32)) == (32, 32)
    for wrong in [(1, 3, 96, 96), (1, 3, 64, 80), (1, 64, 96, 3), (1, 3, 0, 32), (2, 3, 64, 96)]:
        assert preprocess.shape_of(wrong) is None
    fixed = jobs.checked(jobs.oriented(tmp_path)).preprocess
    assert fixed.shape_of((1, 3, 64, 96)) == (64, 96)
    assert fixed.shape_of((1, 3, 32, 32)) is None
