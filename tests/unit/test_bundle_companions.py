"""Several pictures at once: each has its own detections, whatever goes through with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascadeport.pipeline import companions

from bundle import companions as bundled
from bundle.job import Job
from bundle.measure import OVERLAPPING
from bundle.run import run
from bundle.runners import Outputs, Runner
from bundle.stream import Stream
from tests.helpers import bundle_jobs as jobs

COUNT = 21


class Seeing(Runner):
    """Finds the bright rectangle of each picture; `leak` moves it by what is in the others."""

    def __init__(self, leak: float = 0.0, shapes: list[tuple[int, ...]] | None = None) -> None:
        self.leak = leak
        self.shapes = [] if shapes is None else shapes

    def describe(self) -> dict[str, Any]:
        return {"runtime": "seeing", "runtime_version": "1", "provider": "", "providers": []}

    def run(self, batch: np.ndarray) -> Outputs:
        return self.run_all(batch)[0]

    def run_all(self, batch: np.ndarray) -> list[Outputs]:
        self.shapes.append(batch.shape)
        found = []
        for number, picture in enumerate(batch):
            rows, columns = np.nonzero(picture.max(axis=0) > 0.5)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.9]
            boxes = np.array([box], np.float32)
            others = np.delete(batch, number, axis=0)
            if len(others):
                boxes[:, :4] += self.leak * float(others.mean())
            found.append(Outputs(boxes, np.zeros(1, np.int64), device_ms=2.0))
        return found


def job(tmp_path: Path, at_once: int, count: int = COUNT, make: Any = jobs.small) -> Job:
    """A job over pictures of many sizes, and the same network for one picture."""
    sizes = [(24 + 37 * n % 90, 20 + 53 * n % 80) for n in range(count)]
    content = make(tmp_path)
    content["pictures"]["items"] = jobs.write_pictures(tmp_path / "pictures", sizes)
    content["input"]["pictures"] = at_once
    content["single"] = content["networks"]
    content["measure"] = {"warmup": 2, "repeats": 2, "repeat_pictures": 7}
    return jobs.checked(content)


def ids(made: Job) -> list[int]:
    return [picture.id for picture in made.pictures]


def settings(at_once: int) -> dict[str, Any]:
    post = {"score_threshold": 0.05, "max_detections": 100}
    return {"input": {"pictures": at_once}, "postprocess": post}


@pytest.mark.parametrize("make", [jobs.small, jobs.oriented])
@pytest.mark.parametrize("at_once", [2, 3, 4])
def test_each_picture_has_its_own_detections(tmp_path: Path, at_once: int, make: Any) -> None:
    """The last batch of a shape is filled up; what is found in the repeats is nobody's."""
    alone, several = tmp_path / "alone", tmp_path / "several"
    run(job(tmp_path, 1, make=make), str(alone), lambda one: Seeing())
    shapes: list[tuple[int, ...]] = []
    made = job(tmp_path, at_once, make=make)
    record = run(made, str(several), lambda one: Seeing(0.0, shapes))
    for name in ("detections.json", "geometry.jsonl", "pictures.jsonl"):
        assert (alone / name).read_bytes() == (several / name).read_bytes()
    assert {shape[0] for shape in shapes} == {at_once, 1}
    assert record["pictures"] == COUNT
    assert record["environment"]["padded"] == -COUNT % at_once or make is jobs.oriented
    times = (several / "times.csv").read_text()
    assert times.startswith(OVERLAPPING)
    assert times.count("\n1,") == COUNT
    figures, problems = companions.compare(several, settings(at_once), ids(made))
    assert problems == []
    assert {name: one.box_px for name, one in figures.items()} == {"shuffled": 0, "single": 0}
    assert figures["shuffled"].pictures == max(8, 3 * at_once)


@pytest.mark.parametrize("leak", [1.0, 5.0, 100.0])
def test_detections_that_depend_on_companions_are_found_out(tmp_path: Path, leak: float) -> None:
    made = job(tmp_path, 2)
    run(made, str(tmp_path / "out"), lambda one: Seeing(leak))
    _, problems = companions.compare(tmp_path / "out", settings(2), ids(made))
    assert any("among other pictures" in problem for problem in problems)
    assert any("one picture at a time" in problem for problem in problems)
    assert all(problem.startswith("detections depend on companions") for problem in problems)


def test_a_picture_that_is_skipped_leaves_its_place_to_a_repeat(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, input={"pictures": 3})
    sizes = [(30 + n, 40) for n in range(9)]
    content["pictures"]["items"] = jobs.write_pictures(tmp_path / "pictures", sizes)
    made = jobs.checked({**content, "keep_going": True})
    for number in (0, 4, 6, 7, 8):
        Path(made.path(made.pictures[number])).write_bytes(b"")
    order: list[int] = []
    with Stream(made, lambda one: Seeing()) as stream:
        stream.run(made.pictures, lambda result: order.append(result.picture.id))
    assert order == ids(made)


def test_the_sample_is_the_same_for_everybody() -> None:
    assert bundled.sample(list(range(100)), 2) == [0, 12, 25, 37, 50, 62, 75, 87]
    assert bundled.sample([5, 7], 2) == [5, 7]
    assert len(bundled.sample(list(range(100)), 4)) == 12


def forged(tmp_path: Path, change: Any) -> list[str]:
    """What is wrong with a pass whose companions.jsonl somebody changed."""
    made = job(tmp_path, 2)
    run(made, str(tmp_path / "out"), lambda one: Seeing())
    path = tmp_path / "out" / companions.FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))
    return companions.compare(tmp_path / "out", settings(2), ids(made))[1]


def moved(lines: list[Any], pixels: float) -> list[Any]:
    for line in lines:
        for found in line["detections"]:
            found["bbox"][0] += pixels
    return lines


def test_forgeries(tmp_path: Path) -> None:
    def without_single(lines: list[Any]) -> list[Any]:
        return [line for line in lines if line["run"] == "shuffled"]

    def easy_pictures(lines: list[Any]) -> list[Any]:
        return [line for line in lines if line["id"] != lines[0]["id"]]

    def all_alone(lines: list[Any]) -> list[Any]:
        return [{**line, "began_ms": float(n)} for n, line in enumerate(lines)]

    def all_together(lines: list[Any]) -> list[Any]:
        return [{**line, "began_ms": 1.0} for line in lines]

    assert "'single' is about other pictures" in str(forged(tmp_path, without_single))
    assert "about other pictures than the sample" in str(forged(tmp_path, easy_pictures))
    assert "more pictures at once" in str(forged(tmp_path, all_together))
    assert "the same companions" not in str(forged(tmp_path, all_alone))
    assert "half of the boxes move" in str(forged(tmp_path, lambda lines: moved(lines, 0.01)))
    assert "detections differ" in str(forged(tmp_path, lambda lines: moved(lines, 5.0)))
    assert "nothing proves" in str(forged(tmp_path, lambda lines: ["nonsense"]))


def test_the_same_companions_again_prove_nothing(tmp_path: Path) -> None:
    made = job(tmp_path, 2)
    run(made, str(tmp_path / "out"), lambda one: Seeing())
    path = tmp_path / "out" / companions.FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    first = made.pictures[0].id, made.pictures[1].id
    shuffled = [line for line in lines if line["run"] == "shuffled"]
    shuffled[0].update(id=first[0], began_ms=-1.0)
    times = tmp_path / "out" / "times.csv"
    # As if the first picture of the sample had been alone in the scored pass, too.
    text = times.read_text().splitlines()
    row = next(n for n, line in enumerate(text) if line.startswith(f"1,{first[1]},"))
    text[row] = text[row].rsplit(",", 1)[0] + ",0.0001"
    times.write_text("\n".join(text) + "\n")
    kept = [line for line in lines if line["run"] == "single"]
    rest = [line for line in shuffled[1:] if line["id"] != first[0]]
    missing = {line["id"] for line in kept} - {line["id"] for line in rest} - {first[0]}
    rest += [{**shuffled[0], "id": one, "began_ms": -2.0 - one} for one in missing]
    path.write_text("".join(json.dumps(one) + "\n" for one in [shuffled[0], *rest, *kept]))
    problems = companions.compare(tmp_path / "out", settings(2), ids(made))[1]
    assert f"infer/companions.jsonl: picture {first[0]} had the same companions as before" in (
        problems
    )


def test_of_one_picture_at_a_time_nothing_is_asked(tmp_path: Path) -> None:
    assert companions.compare(tmp_path, settings(1), [1, 2]) == ({}, [])
    assert companions.compare(tmp_path, {}, [1, 2]) == ({}, [])
    assert "nothing proves" in companions.compare(tmp_path, settings(2), [1, 2])[1][0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("companions.jsonl", "[" * 100_000),
        ("companions.jsonl", '{"run": "shuffled", "id": [], "chip": {}, "began_ms": "x"}'),
        ("detections.json", '{"image_id": 1}'),
        ("detections.json", '[{"image_id": [], "category_id": 1, "bbox": [], "score": 1}]'),
        ("detections.json", '[{"image_id": 7, "category_id": 1, "bbox": [NaN], "score": NaN}]'),
        ("times.csv", "nonsense"),
    ],
)
def test_files_that_are_none_are_a_reason_and_no_crash(
    tmp_path: Path, name: str, content: str
) -> None:
    made = job(tmp_path, 2)
    run(made, str(tmp_path / "out"), lambda one: Seeing())
    (tmp_path / "out" / name).write_text(content)
    assert "nothing proves" in companions.compare(tmp_path / "out", settings(2), ids(made))[1][0]
    strange = {"input": {"pictures": 2}, "postprocess": {"score_threshold": "high"}}
    assert companions.compare(tmp_path / "out", strange, ids(made))[1]


def test_numbers_that_are_none_are_no_agreement(tmp_path: Path) -> None:
    def nan(lines: list[Any]) -> list[Any]:
        for line in lines:
            for found in line["detections"]:
                found["score"] = float("nan")
        return lines

    assert "detections differ" in str(forged(tmp_path, nan))
