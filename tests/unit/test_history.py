"""History: runs are kept by content and pruned, and what is worse than one of them is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cascadeport import datasets
from cascadeport.base.errors import CascadeportError
from cascadeport.results import comparison, gate
from cascadeport.results.comparison import Comparison, Row
from cascadeport.results.history import changes, expected, export, junit, pull_request, runs
from cascadeport.results.history.against import Against
from cascadeport.results.history.changes import Change, Side
from cascadeport.results.history.expected import Expected

from tests.helpers import finished

Sided = Callable[..., Side]
ORDER = ("cpu", "310", "T4")


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"), pictures=40)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, boxes: datasets.Dataset) -> Path:
    folder = tmp_path_factory.mktemp("results")
    finished.finish(folder, boxes)
    finished.finish(folder, boxes, target="T4", title="NVIDIA T4", milliseconds=5.0)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


@pytest.fixture
def sided(boxes: datasets.Dataset) -> Sided:
    """What there is now in a folder; or in a run that is kept there."""

    def sided(folder: Path, run: runs.Run | None = None) -> Side:
        known = finished.known(folder, boxes)
        found = (
            runs.collect(folder, run, known, ORDER)
            if run
            else comparison.collect(folder, known, ORDER)
        )
        table = gate.judge(comparison.compare(found), found, (), known)
        return Side(table, {one.target: one.result for one in found if one.result})

    return sided


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def worsen(folder: Path, boxes: datasets.Dataset, target: str, pixels: float = 6) -> None:
    def change(content: list[dict[str, Any]]) -> None:
        for one in content:
            one["bbox"][0] += pixels

    finished.rewrite_apart(folder / target / "infer" / "detections.json", change)
    finished.reevaluate(folder, boxes, target)


def test_the_same_results_are_the_same_run_and_cost_no_space(folder: Path, sided: Sided) -> None:
    table = sided(folder).table
    one = runs.keep(folder, table, 20)
    again = runs.keep(folder, table, 20)
    assert one.id == again.id
    assert [run.id for run in runs.every(folder)] == [one.id]
    kept = folder / "history" / "rows" / one.rows["cpu"] / "cpu" / "infer" / "detections.json"
    assert os.path.samefile(kept, folder / "cpu" / "infer" / "detections.json")  # noqa: PTH121
    # What a comparison is made of is not disturbed by it.
    assert sided(folder).table == table


def test_a_row_that_did_not_change_is_kept_once_and_a_kept_run_is_computed_again(
    folder: Path, sided: Sided, boxes: datasets.Dataset
) -> None:
    before = sided(folder).table
    old = runs.keep(folder, before, 20)
    finished.finish(folder, boxes, target="T4", title="NVIDIA T4", seed=5)
    now = sided(folder).table
    new = runs.keep(folder, now, 20)
    assert old.id != new.id
    assert old.rows["cpu"] == new.rows["cpu"]
    assert len(list((folder / "history" / "rows").iterdir())) == 3
    assert sided(folder, old).table == before
    assert sided(folder, new).table == now


def test_the_oldest_runs_are_removed_with_what_only_they_had(
    folder: Path, sided: Sided, boxes: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []
    for seed in range(4):
        finished.finish(folder, boxes, target="T4", title="NVIDIA T4", seed=10 + seed)
        ids.append(runs.keep(folder, sided(folder).table, 2).id)
    # Within a second the id decides which is newer; two are kept in any case.
    kept = runs.every(folder)
    assert len(kept) == 2
    assert {run.id for run in kept} <= set(ids)
    wanted = {digest for run in kept for digest in run.rows.values()}
    assert {path.name for path in (folder / "history" / "rows").iterdir()} == wanted
    # So is what a run left that was killed while it wrote.
    (folder / "history" / "runs" / ".a.json.tmp-1").touch()
    runs.keep(folder, sided(folder).table, 0)
    assert files(folder / "history") == set()


def test_without_hard_links_files_are_copied(
    folder: Path, sided: Sided, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> None:
        raise OSError(1, "not permitted")

    monkeypatch.setattr(os, "link", refuse)
    table = sided(folder).table
    run = runs.keep(folder, table, 20)
    assert sided(folder, run).table == table


def test_a_kept_file_that_was_changed_is_noticed(folder: Path, sided: Sided) -> None:
    run = runs.keep(folder, sided(folder).table, 20)
    path = folder / "history" / "rows" / run.rows["T4"] / "T4" / "result.json"
    content = path.read_text()
    path.unlink()
    path.write_text(content.replace('"map": 0.', '"map": 0.9'))
    cpu, gpu = sided(folder, run).table.rows
    assert cpu.status == "measured"
    assert gpu.reason == "its files in the history are missing or were changed"
    # A record of a run that says something else than its name is not one.
    record = folder / "history" / "runs" / f"{run.id}.json"
    content = json.loads(record.read_text())
    for rows in ({"cpu": "0" * 64}, {"..": "0" * 64}, {"cpu": "../../cpu"}, {"a/b": "0" * 64}):
        record.write_text(json.dumps({**content, "rows": rows}))
        assert runs.every(folder) == []
        # Neither if its name is that of what it says, but that cannot be.
        named = record.with_name(f"{runs.identity(rows)}.json")
        named.write_text(json.dumps({**content, "id": named.stem, "rows": rows}))
        assert len(runs.every(folder)) == (rows == {"cpu": "0" * 64})
        named.unlink()
    record.write_text(json.dumps({**content, "last": "\x1b[31m"}))
    assert runs.every(folder) == []


def test_runs_are_found_by_the_beginning_of_their_id(
    folder: Path, sided: Sided, boxes: datasets.Dataset
) -> None:
    old = runs.keep(folder, sided(folder).table, 20)
    finished.finish(folder, boxes, target="T4", title="NVIDIA T4", seed=5)
    now = runs.keep(folder, sided(folder).table, 20)
    assert runs.find(folder, old.id[:6], now.id).id == old.id
    assert runs.find(folder, "previous", now.id).id == old.id
    for name in ("abc", "zzzzzz", ""):
        with pytest.raises(CascadeportError, match="There is no kept run") as caught:
            runs.find(folder, name, now.id)
        assert old.id[:12] in str(caught.value)


def test_nothing_changed(folder: Path, sided: Sided, boxes: datasets.Dataset) -> None:
    side = sided(folder)
    assert changes.changes(side, side, boxes) == []


def kinds(found: list[Change]) -> set[tuple[str, str, str]]:
    return {(change.row, change.cell, change.kind) for change in found}


def test_a_lower_accuracy_and_its_verdict(
    folder: Path, sided: Sided, boxes: datasets.Dataset
) -> None:
    before = sided(folder, runs.keep(folder, sided(folder).table, 20))
    worsen(folder, boxes, "T4")
    after = sided(folder)
    assert kinds(changes.changes(before, after, boxes)) == {
        ("T4", "map", "regressed"),
        ("T4", "verdict", "regressed"),
    }
    back = changes.changes(after, before, boxes)
    assert kinds(back) == {("T4", "map", "improved"), ("T4", "verdict", "improved")}
    (accuracy,) = [change for change in back if change.cell == "map"]
    assert "points, 95 % interval +" in accuracy.text


def test_a_difference_that_the_pictures_explain_is_none(
    folder: Path, sided: Sided, boxes: datasets.Dataset
) -> None:
    """One box of one picture moves: the interval of the difference touches zero."""
    before = sided(folder, runs.keep(folder, sided(folder).table, 20))

    def change(content: list[dict[str, Any]]) -> None:
        content[0]["bbox"][0] += 400

    finished.rewrite_apart(folder / "T4" / "infer" / "detections.json", change)
    finished.reevaluate(folder, boxes, "T4")
    after = sided(folder)
    assert before.rows["T4"].map != after.rows["T4"].map
    assert "map" not in {change.cell for change in changes.changes(before, after, boxes)}


def steady(side: Side) -> Side:
    """The same, as if no pass had been repeated."""
    results = {}
    for name, result in side.results.items():
        summary = result.run.summary.model_copy(update={"repeats": []})
        run = result.run.model_copy(update={"summary": summary})
        results[name] = result.model_copy(update={"run": run})
    return Side(side.table, results)


def test_rows_come_and_go_and_speeds_change(
    folder: Path, sided: Sided, boxes: datasets.Dataset
) -> None:
    before = sided(folder)
    shutil.rmtree(folder / "T4")
    finished.finish(folder, boxes, milliseconds=22.0)
    finished.finish(folder, boxes, target="310", title="Ascend 310", simulated=True)
    after = sided(folder)
    rows = {("310", "row", "new"), ("T4", "row", "missing")}
    # The repeats of these runs differ by far more than the runs.
    assert kinds(changes.changes(before, after, boxes)) == rows
    assert kinds(changes.changes(steady(before), steady(after), boxes)) == rows | {
        ("cpu", "device_ips", "regressed"),
        ("cpu", "end_to_end_ips", "regressed"),
    }
    finished.finish(folder, boxes, milliseconds=22.5)
    assert changes.changes(steady(after), steady(sided(folder)), boxes) == []


def test_a_row_that_became_invalid_or_lost_a_cell(
    folder: Path, sided: Sided, boxes: datasets.Dataset
) -> None:
    before = sided(folder)
    finished.finish(folder, boxes, target="T4", title="NVIDIA T4", simulated=True)
    simulated = sided(folder)
    found = kinds(changes.changes(before, simulated, boxes))
    assert ("T4", "status", "regressed") in found
    assert ("T4", "device_ips", "missing") in found
    finished.finish(folder, boxes, target="T4", title="NVIDIA T4", problems=["It was busy."])
    (status, *_) = changes.changes(before, sided(folder), boxes)
    assert status.sentence == "NVIDIA T4: status regressed: measured to invalid (It was busy)"


CHANGES = [
    Change("310", "Ascend 310", "row", "missing", "it was measured"),
    Change("T4", "T4 <b>", "map", "regressed", "0.4500 to 0.4300, −2.00 points"),
    Change("T4", "T4 <b>", "device_ips", "improved", "3.97 to 5.00, +26%"),
]


def test_known_failures_are_carried_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(
        """
[[expected]]
row = "T4"
cell = "map"
change = "regressed"
reason = "float16 since the last release"
[[expected]]
row = "310P3"
reason = "was never there"
"""
    )
    judged = expected.judge(CHANGES, expected.load(path))
    assert judged.worse == (CHANGES[0],)
    assert judged.known == ((CHANGES[1], "float16 since the last release"),)
    assert judged.others == (CHANGES[2],)
    assert [one.row for one in judged.idle] == ["310P3"]
    lines = dict(Against("run abc", judged).lines())
    assert "missing" in lines["WORSE"]
    assert lines["expected"].endswith("float16 since the last release")
    assert lines["idle"] == "expected, but it did not happen: 310P3; was never there"
    whole = expected.judge(CHANGES, [Expected(row="310", reason="gone")])
    assert whole.worse == (CHANGES[1],)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[expected]]\nrow = 'a'\n", "expected[0].reason: missing"),
        ("[[expected]]\nrow = 'a'\nreason = ''\n", "expected[0].reason: string should have"),
        ("[[expected]]\nrow = 'a'\nreason = 'b'\ncell = 'mAP'\n", "expected[0].cell: input should"),
        ("[[expect]]\nrow = 'a'\n", "expect: unknown key; perhaps you meant 'expected'"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(text)
    with pytest.raises(CascadeportError) as caught:
        expected.load(path)
    assert told in str(caught.value)


def judged_table(sided: Sided, folder: Path, boxes: datasets.Dataset) -> Comparison:
    worsen(folder, boxes, "T4")
    finished.finish(folder, boxes, target="310", title="\x1b310", problems=["busy <&> \x00"])
    return sided(folder).table


def test_junit_has_a_case_for_every_check_and_change(
    folder: Path, sided: Sided, boxes: datasets.Dataset
) -> None:
    table = judged_table(sided, folder, boxes)
    text = junit.document(table)
    assert text == junit.document(table)
    root = ElementTree.fromstring(text)
    cases = {(c.get("classname"), c.get("name")): c for c in root.iter("testcase")}
    assert cases["T4", "accuracy"].find("failure") is not None
    assert cases["310", "valid"].find("failure") is not None
    assert "busy <&> \\x00" in str(cases["310", "valid"].find("failure").get("message"))
    assert cases["cpu", "accuracy"].find("failure") is None
    assert (root.get("failures"), root.get("errors")) == ("2", "0")
    assert root.get("tests") == str(len(cases))
    # Held against a run in which T4 was no better, only what is worse than there fails.
    judged = expected.judge([CHANGES[0]], [])
    root = ElementTree.fromstring(junit.document(table, Against("run abc", judged)))
    cases = {(c.get("classname"), c.get("name")): c for c in root.iter("testcase")}
    skipped = cases["T4", "accuracy"].find("skipped")
    assert skipped is not None
    assert str(skipped.get("message")).startswith("as in run abc")
    missing = cases["310", "row missing"].find("failure")
    assert missing is not None
    assert missing.get("message") == "it was measured"
    judged = expected.judge(CHANGES, [Expected(row="T4", reason="because")])
    root = ElementTree.fromstring(junit.document(table, Against("run abc", judged)))
    cases = {(c.get("classname"), c.get("name")): c for c in root.iter("testcase")}
    skipped = cases["T4", "map regressed"].find("skipped")
    assert skipped is not None
    assert str(skipped.get("message")).endswith("−2.00 points: because")


def test_the_markdown_of_a_pull_request_begins_with_the_verdict(
    folder: Path, sided: Sided, boxes: datasets.Dataset
) -> None:
    table = judged_table(sided, folder, boxes)
    text = pull_request.document(table)
    assert text.startswith("### FAIL: Rectangles & \\<others\\> on boxes, 40 pictures")
    assert "| NVIDIA T4" in text
    assert text.count("<details>") == text.count("</details>") == 1
    assert "\x1b" not in text
    text = pull_request.document(table, Against("run abc", expected.judge(CHANGES, [])))
    assert text.startswith("### WORSE: ")
    assert "- **WORSE** T4 \\<b\\>: mAP regressed: 0.4500 to 0.4300" in text


def test_an_export_is_chosen_by_its_ending(
    folder: Path, sided: Sided, boxes: datasets.Dataset, tmp_path: Path
) -> None:
    table = sided(folder).table
    export.write(table, None, tmp_path / "a.xml")
    export.write(table, None, tmp_path / "a.md")
    assert (tmp_path / "a.xml").read_text() == junit.document(table)
    assert (tmp_path / "a.md").read_text() == pull_request.document(table)
    with pytest.raises(CascadeportError, match=r"ends in '\.sarif'"):
        export.write(table, None, tmp_path / "a.sarif")


def test_a_run_of_the_format_is_read_back(folder: Path, sided: Sided) -> None:
    run = runs.keep(folder, sided(folder).table, 20)
    content = json.loads((folder / "history" / "runs" / f"{run.id}.json").read_text())
    assert content["format"] == 1
    assert set(content["rows"]) == {"cpu", "T4"}
    assert runs.every(folder) == [run]
    rows = [Row.model_validate(row) for row in content["comparison"]["rows"]]
    assert rows == run.comparison.rows
