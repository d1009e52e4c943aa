"""The gate: what is declared before a run decides, and what cannot be decided is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cascadeport import datasets
from cascadeport.base.errors import CascadeportError
from cascadeport.config import cards
from cascadeport.config.gate import Gate
from cascadeport.results import comparison, failure, gate
from cascadeport.results.comparison import Comparison
from cascadeport.results.published import PublishedFigures

from tests.helpers import finished

Judged = Callable[..., Comparison]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"), pictures=80)


@pytest.fixture
def judged(boxes: datasets.Dataset) -> Judged:
    """Compares and judges the results of a folder."""

    def judged(
        folder: Path, *published: PublishedFigures, gates: dict[str, Gate] | None = None
    ) -> Comparison:
        known = replace(finished.known(folder, boxes), gates=gates or {})
        found = comparison.collect(folder, known, ("cpu", "310", "T4"))
        return gate.judge(comparison.compare(found, published), found, published, known)

    return judged


def finish(folder: Path, boxes: datasets.Dataset, target: str = "cpu", **more: Any) -> None:
    finished.finish(folder, boxes, target=target, title=target.upper(), **more)


def move(folder: Path, boxes: datasets.Dataset, target: str, pixels: float, share: int = 1) -> None:
    """Moves every `share`-th box of a finished result to the right; its records fit again."""
    path = folder / target / "infer" / "detections.json"

    def change(content: list[dict[str, Any]]) -> None:
        for one in content[::share]:
            one["bbox"][0] += pixels

    finished.rewrite(path, change)
    finished.reevaluate(folder, boxes, target)


def test_the_first_measured_row_is_the_reference_and_the_same_detections_pass(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finish(tmp_path, boxes)
    finish(tmp_path, boxes, "T4")
    cpu, gpu = judged(tmp_path).rows
    assert cpu.verdict is None
    assert "it is the reference" in cpu.verdict_reason
    assert (gpu.verdict, gpu.delta_low, gpu.delta_high) == ("pass", 0, 0)
    assert "0.00 points from CPU" in gpu.verdict_reason


@pytest.mark.parametrize(
    ("points", "verdict"), [(1.0, "fail"), (100.0, "pass"), (None, "undecided")]
)
def test_the_interval_decides(
    judged: Judged,
    tmp_path: Path,
    boxes: datasets.Dataset,
    points: float | None,
    verdict: str,
) -> None:
    """Far below, far above, and with a limit at the difference itself."""
    if points is None:
        finish(tmp_path, boxes)
        finish(tmp_path, boxes, "T4")
        move(tmp_path, boxes, "T4", 4, share=2)
        delta = judged(tmp_path).rows[1].delta_map
        assert delta is not None
        assert delta < -0.01
        points = -100 * delta
        shutil.rmtree(tmp_path / "T4")
    declared = Gate(points=points)
    finish(tmp_path, boxes, gate=declared)
    finish(tmp_path, boxes, "T4", gate=declared)
    move(tmp_path, boxes, "T4", 4, share=2)
    row = judged(tmp_path).rows[1]
    assert row.verdict == verdict
    assert row.delta_low is not None
    assert row.delta_high is not None
    assert row.delta_map is not None
    assert row.delta_low < row.delta_map < row.delta_high < 0
    assert ("more pictures would decide" in row.verdict_reason) == (verdict == "undecided")


def test_few_pictures_decide_nothing(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    few = finished.dataset(tmp_path / "few", pictures=14)
    for target in ("cpu", "T4"):
        finish(tmp_path, few, target)
    move(tmp_path, few, "T4", 1)
    known = finished.known(tmp_path, few)
    found = comparison.collect(tmp_path, known, ("cpu", "T4"))
    row = gate.judge(comparison.compare(found), found, (), known).rows[1]
    assert row.verdict == "undecided"
    assert "14 pictures are too few, at least 20" in row.verdict_reason


def test_better_than_the_reference_is_a_warning(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finish(tmp_path, boxes)
    finish(tmp_path, boxes, "T4")
    move(tmp_path, boxes, "cpu", 4)
    row = judged(tmp_path).rows[1]
    assert row.verdict == "pass"
    assert "better than CPU: is that the same model on the same pictures?" in row.verdict_reason
    assert [check.verdict for check in row.checks if check.name == "accuracy"] == [
        "pass",
        "warning",
    ]


@pytest.mark.parametrize(("rule", "verdict"), [("warn", "warning"), ("fail", "fail")])
def test_a_category_that_is_lower_beyond_doubt(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset, rule: Any, verdict: str
) -> None:
    declared = Gate(points=50, categories=rule)
    finish(tmp_path, boxes, gate=declared)
    finish(tmp_path, boxes, "T4", gate=declared)
    path = tmp_path / "T4" / "infer" / "detections.json"

    def change(content: list[dict[str, Any]]) -> None:
        for one in content:
            if one["category_id"] == 5:
                one["bbox"][0] += 30

    finished.rewrite(path, change)
    finished.reevaluate(tmp_path, boxes, "T4")
    row = judged(tmp_path).rows[1]
    (check,) = [check for check in row.checks if check.name == "categories"]
    assert check.verdict == verdict
    assert "AP of 1 category is more than 1 point below CPU: <script>" in check.text
    assert row.verdict == ("fail" if rule == "fail" else "pass")


@pytest.mark.parametrize(
    ("declared", "verdict", "told"),
    [
        (Gate(device_ips=40), "pass", "50.00 pictures per second on the device, at least 40"),
        (Gate(device_ips=60), "fail", "50.00 pictures per second on the device, at least 60"),
        (Gate(end_to_end_ips=49.6), "fail", "49.50 pictures per second end to end"),
    ],
)
def test_a_speed(
    judged: Judged,
    tmp_path: Path,
    boxes: datasets.Dataset,
    declared: Gate,
    verdict: str,
    told: str,
) -> None:
    finish(tmp_path, boxes, gate=declared)
    (row,) = judged(tmp_path).rows
    assert row.verdict == verdict
    assert told in row.verdict_reason


def test_a_simulated_run_has_no_speed_to_judge(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finish(tmp_path, boxes)
    finish(tmp_path, boxes, "310", simulated=True, gate=Gate(device_ips=2))
    row = judged(tmp_path).rows[1]
    assert row.verdict == "undecided"
    assert "there is no speed on the device" in row.verdict_reason


def test_a_number_that_was_published_is_judged_by_the_pictures_in_full(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finish(tmp_path, boxes, gate=Gate(points=30))
    (alone,) = judged(tmp_path).rows
    assert alone.map is not None
    paper = PublishedFigures("reference", "the paper", "x", map=alone.map, comparable=True)
    row = judged(tmp_path, paper).rows[0]
    assert row.verdict == "pass"
    assert row.delta_low is not None
    assert row.delta_low < -0.01
    assert "from the paper" in row.verdict_reason
    # Of other pictures it says nothing.
    other = replace(paper, comparable=False)
    assert judged(tmp_path, other).rows[0].verdict is None
    # A gate may ask for the measured reference.
    shutil.rmtree(tmp_path / "cpu")
    finish(tmp_path, boxes, gate=Gate(reference="measured"))
    assert judged(tmp_path, paper).rows[0].verdict is None


def test_published_detections_are_compared_picture_by_picture(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finish(tmp_path, boxes)
    (alone,) = judged(tmp_path).rows
    theirs = Path(shutil.copy(tmp_path / "cpu" / "infer" / "detections.json", tmp_path))
    content = json.loads(theirs.read_text())
    # Pictures that were not run do not count.
    theirs.write_text(json.dumps([*content, {**content[0], "image_id": 10**6}]))
    paper = PublishedFigures(
        "reference", "the paper", "x", map=alone.map, comparable=True, detections=theirs
    )
    row = judged(tmp_path, paper).rows[0]
    assert (row.verdict, row.delta_low, row.delta_high) == ("pass", 0, 0)
    # Detections that do not have the published accuracy are not those that it is of.
    row = judged(tmp_path, replace(paper, map=0.01)).rows[0]
    assert row.verdict == "undecided"
    assert "they are not those that it is of" in row.verdict_reason
    # What cannot be read decides nothing, and loses nothing.
    broken = json.dumps([{**content[0], "score": float("nan")}])
    for text in ("{}", "[", "[" * 10**5, '[{"image_id": []}]', broken):
        theirs.write_text(text)
        row = judged(tmp_path, paper).rows[0]
        assert row.verdict == "undecided"
        assert "the published detections (detections.json) cannot be used" in row.verdict_reason
        assert row.map == alone.map


def test_a_gate_that_was_edited_after_the_run(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finish(tmp_path, boxes, gate=Gate(device_ips=60))
    (row,) = judged(tmp_path, gates={"cpu": Gate(device_ips=40)}).rows
    assert row.verdict == "fail"
    assert "changed since the run" in row.verdict_reason
    assert "device_ips is 40.0, not 60.0" in row.verdict_reason
    # In the files of the run it is an edit like any other.
    finished.rewrite(
        tmp_path / "cpu" / "result.json", lambda content: content["gate"].update(device_ips=40)
    )
    (row,) = judged(tmp_path).rows
    assert (row.status, row.verdict) == ("invalid", "fail")
    assert "gate.device_ips is 40" in row.reason


def test_a_run_without_a_declared_gate(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finish(tmp_path, boxes, gate=None)
    (row,) = judged(tmp_path).rows
    assert row.verdict == "undecided"
    assert "nothing was declared" in row.verdict_reason


def test_a_row_whose_last_run_failed_is_marked_and_the_rest_is_compared(
    judged: Judged, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finish(tmp_path, boxes)
    finish(tmp_path, boxes, "310", simulated=True)
    for target in ("310", "T4"):
        failure.mark(tmp_path / target, CascadeportError("ATC run failed.", where="atc.log"))
    cpu, old, never = judged(tmp_path).rows
    assert cpu.status == "measured"
    for row in (old, never):
        assert (row.status, row.verdict) == ("invalid", "fail")
        assert row.reason == "its last run failed: ATC run failed."
    assert old.map == cpu.map
    assert gate.overall([cpu, old]) == "fail"
    failure.clear(tmp_path / "310")
    assert judged(tmp_path).rows[1].status == "simulated"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gate]\npoints = 0\n", "gate.points: input should be greater than 0 (it is 0)"),
        ("[gate]\npoint = 1\n", "gate.point: unknown key; perhaps you meant 'points'"),
        ("[gate]\ncategories = 'ignore'\n", "gate.categories: input should be 'warn' or 'fail'"),
        ("[gate]\ndevice_ips = inf\n", "gate.device_ips: input should be"),
        ("[gate]\nend_to_end_ips = true\n", "gate.end_to_end_ips: input should be a valid number"),
        ("[[published]]\ntitle = 'x'\nsource = 'y'\n", "it has none of 'map', 'chip_ips'"),
        ("[[published]]\ntitle = 'x'\nmap = 0.4\n", "published[0].source: missing"),
        (
            "[[published]]\ntitle = 'x'\nsource = 'y'\nmap = 0.4\ndate = '22'\n",
            "published[0].date: string should match",
        ),
        (
            "[reference]\nmap = 0.4\nsource = 'y'\nsha256 = '" + "0" * 64 + "'\n",
            "'sha256' is that of 'detections'",
        ),
        (
            "[reference]\nmap = 0.4\nsource = 'y'\ndetections = 'none.json'\n",
            "reference.detections: there is no file",
        ),
    ],
)
def test_mistakes_in_a_card_are_named(tmp_path: Path, text: str, told: str) -> None:
    from tests.helpers import small_world

    path = small_world.card(tmp_path)
    path.write_text(path.read_text() + text)
    with pytest.raises(CascadeportError) as caught:
        cards.load(path)
    assert told in "\n".join(caught.value.details)


def test_a_targets_row_overrides_single_values() -> None:
    card = Gate(points=2, device_ips=3)
    assert card.overridden(Gate(points=0.5)) == Gate(points=0.5, device_ips=3)
    assert card.overridden(None) == card


def test_a_gate_is_said_in_words_before_anything_runs() -> None:
    assert Gate().described == (
        "mAP at most 1 point below the published accuracy, or without one the first measured row; "
        "of a category 1 point (warn)"
    )
    said = Gate(points=0.5, reference="measured", device_ips=3.5).described
    assert said.startswith("mAP at most 0.5 points below the first measured row; ")
    assert said.endswith("; at least 3.5 img/s on the device")
