"""A row is computed, never believed: whatever a file says otherwise, the row is INVALID."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cascadeport import backends, datasets
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.evaluation import fast
from cascadeport.evaluation.coco_files import Inputs
from cascadeport.results import collate
from cascadeport.results import comparison as compare
from cascadeport.results import result as results
from cascadeport.results.comparison import Comparison, Row

from tests.helpers import finished


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, boxes: datasets.Dataset) -> Path:
    folder = tmp_path_factory.mktemp("results")
    skipped = [{"id": 2, "file": "x.jpg", "reason": "It is empty."}]
    finished.finish(folder, boxes)
    finished.finish(folder, boxes, target="310", title="Ascend 310", simulated=True, seed=3)
    finished.finish(
        folder, boxes, target="T4", title="NVIDIA T4", seed=2, status="partial", skipped=skipped
    )
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def table(folder: Path, boxes: datasets.Dataset) -> Comparison:
    found = compare.collect(folder, finished.known(folder, boxes), ("cpu", "310", "T4"))
    return compare.compare(found)


def invalid(folder: Path, boxes: datasets.Dataset, target: str) -> Row:
    """The row of a target, which must be invalid; the others must be what they were."""
    rows = {row.target: row for row in table(folder, boxes).rows}
    before = {"cpu": "measured", "310": "simulated", "T4": "invalid"}
    assert {name: row.status for name, row in rows.items()} == {**before, target: "invalid"}
    return rows[target]


def test_what_nobody_touched_is_what_was_measured(folder: Path, boxes: datasets.Dataset) -> None:
    cpu, ascend, gpu = table(folder, boxes).rows
    assert (cpu.status, ascend.status, gpu.status) == ("measured", "simulated", "invalid")
    assert gpu.reason == "1 of 14 pictures were skipped"


def edit(**values: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for path, value in values.items():
            *parents, last = path.split("__")
            inner = content
            for key in parents:
                inner = inner[key]
            inner[last] = value

    return change


@pytest.mark.parametrize(
    ("target", "values", "reason"),
    [
        ("cpu", {"map": 0.999}, "result.json: map is 0.999, not 0."),
        ("cpu", {"map": 7.3}, "result.json: map is 7.3, not 0."),
        ("cpu", {"end_to_end_ips": 9999.0}, "end_to_end_ips is 9999.0, not 49.4999"),
        ("cpu", {"pictures": -4}, "result.json: pictures is -4, not 14"),
        ("cpu", {"title": "NVIDIA T4"}, "title is NVIDIA T4, not CPU, onnxruntime"),
        ("cpu", {"model_digest": "f" * 64}, "result.json: model_digest is ffff"),
        ("cpu", {"semantics": ["Faster."]}, "result.json: semantics is 1 values, not 0 values"),
        ("cpu", {"evaluation__stats__AP": 0.9}, "evaluation.stats.AP is 0.9, not 0."),
        ("cpu", {"run__summary__device_ips": 9.9}, "run.summary.device_ips is 9.9, not 50.0"),
        ("cpu", {"status": "simulated"}, "status is simulated, not measured"),
        ("310", {"device_ips": 1234.5}, "device_ips is 1234.5, not missing"),
        ("310", {"status": "measured"}, "status is measured, not simulated"),
        ("T4", {"status": "measured", "reason": ""}, "status is measured, not invalid"),
    ],
)
def test_an_edited_result(
    folder: Path, boxes: datasets.Dataset, target: str, values: dict[str, Any], reason: str
) -> None:
    finished.rewrite(folder / target / "result.json", edit(**values))
    row = invalid(folder, boxes, target)
    assert reason in row.reason
    if target == "cpu":
        assert row.device_ips == 50  # What is shown is what was computed.


@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        ("evaluate/evaluation.json", {"stats__AP": 0.999}, "evaluation.json: stats.AP is 0.999"),
        ("evaluate/evaluation.json", {"stats__ARl": 0.5}, "evaluation.json: stats.ARl is 0.5"),
        (
            "evaluate/evaluation.json",
            {"sources__detections": "0" * 64},
            "evaluation.json: sources.detections is 000",
        ),
        (
            "evaluate/evaluation.json",
            {"disagreements": ["AP is 0.9 by the other"]},
            "evaluation.json: disagreements is 1 values, not 0 values",
        ),
        ("infer/run.json", {"summary__end_to_end_ips": 9e9}, "summary.end_to_end_ips is 9000000"),
        ("infer/run.json", {"summary__latency_ms__p50": 1.0}, "summary.latency_ms.p50 is 1.0"),
        ("infer/run.json", {"pictures": 13}, "13 pictures, infer/times.csv has 14"),
        ("infer/run.json", {"status": "partial"}, "the pass is not complete"),
        ("infer/run.json", {"simulated": True}, "--simulate"),
        ("infer/run.json", {"subject__target": "T4"}, "the record of 'T4', not of 'cpu'"),
        ("infer/run.json", {"subject__model": "other"}, "the model is other, not rectangles"),
        ("infer/run.json", {"digests__network": "0" * 64}, "other networks ran"),
        ("infer/run.json", {"digests__bundle": "0" * 64}, "another bundle ran"),
        ("infer/job.json", {"postprocess": {}}, "job.json: the settings are not those"),
        ("infer/job.json", {"networks": []}, "job.json names other networks"),
    ],
)
@pytest.mark.parametrize("sealed", [False, True])
def test_an_edited_record(
    folder: Path,
    boxes: datasets.Dataset,
    file: str,
    values: dict[str, Any],
    reason: str,
    sealed: bool,
) -> None:
    """Also when stage.json, and so every digest in it, is edited too."""
    finished.rewrite(folder / "cpu" / file, edit(**values))
    if sealed:
        finished.seal(folder / "cpu")
    row = invalid(folder, boxes, "cpu")
    assert reason in row.reason
    assert sealed is not (f"{file} has other" in row.reason or f"{file} has another" in row.reason)


def test_numbers_of_record_moved_by_little_more_than_evaluators_may_differ(
    folder: Path, boxes: datasets.Dataset
) -> None:
    """What evaluation.json keeps is no place to forge: the fast evaluator runs every time."""
    path = folder / "cpu" / "evaluate" / "evaluation.json"
    honest = json.loads(path.read_text())["stats"]["AP"]
    finished.rewrite(path, edit(stats__AP=honest + 2e-9))
    finished.seal(folder / "cpu")
    row = invalid(folder, boxes, "cpu")
    assert f"evaluation.json: stats.AP is {honest + 2e-9}, not {honest}" in row.reason
    assert row.map == honest


def test_two_evaluators_that_differ(
    folder: Path, boxes: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = fast.run

    class Other:
        """hotcoco's answer with other numbers."""

        def __init__(self, inputs: Inputs) -> None:
            self._found = honest(inputs)
            self.eval = self._found.eval
            self.stats = [value + 0.01 for value in self._found.stats]

    monkeypatch.setattr(fast, "run", Other)
    collate._evaluate.cache_clear()
    reasons = [row.reason for row in table(folder, boxes).rows]
    collate._evaluate.cache_clear()
    assert all("the two evaluators differ: AP is 0." in reason for reason in reasons)


def test_a_stage_record_without_its_key(folder: Path, boxes: datasets.Dataset) -> None:
    path = folder / "cpu" / "infer" / "stage.json"
    finished.rewrite(path, edit(parameters__settings__runner__threads=64))
    assert "the key is not that of" in invalid(folder, boxes, "cpu").reason


def test_other_detections_than_were_evaluated(folder: Path, boxes: datasets.Dataset) -> None:
    """H2: the detections of one pass beside the evaluation of another."""
    better = finished.detections(boxes, 1, 0.0)
    (folder / "cpu" / "infer" / "detections.json").write_text(json.dumps(better))
    reason = invalid(folder, boxes, "cpu").reason
    assert "infer/detections.json has another size" in reason
    assert "it evaluated other detections" in reason
    assert "evaluate/evaluation.json: stats.AP is" in reason


@pytest.mark.parametrize("sealed", [False, True])
def test_times_that_do_not_give_the_figures(
    folder: Path, boxes: datasets.Dataset, sealed: bool
) -> None:
    path = folder / "cpu" / "infer" / "times.csv"
    path.write_text(path.read_text().replace(",20.", ",10."))
    if sealed:
        finished.seal(folder / "cpu")
    assert "infer/run.json: summary." in invalid(folder, boxes, "cpu").reason


@pytest.mark.parametrize("line", ["1,99,0,1.5,2.0,,20,,0.3,9999999", "nonsense", "9,1,0,,,,,,,1"])
def test_times_of_no_picture(folder: Path, boxes: datasets.Dataset, line: str) -> None:
    with (folder / "cpu" / "infer" / "times.csv").open("a") as file:
        file.write(line + "\n")
    assert "infer/times.csv" in invalid(folder, boxes, "cpu").reason


@pytest.mark.parametrize("name", ["infer/times.csv", "infer/job.json", "infer/run.json"])
@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_or_unreadable_file(
    folder: Path, boxes: datasets.Dataset, name: str, lost: bool
) -> None:
    path = folder / "cpu" / name
    path.unlink() if lost else path.write_text("{")
    assert Path(name).name in invalid(folder, boxes, "cpu").reason


@pytest.mark.parametrize("name", ["times.csv", "conditions.csv"])
def test_a_pass_that_calls_itself_the_vendors_tool_to_be_rid_of_its_times(
    folder: Path, boxes: datasets.Dataset, name: str
) -> None:
    """ais_infer keeps none; whoever says that it ran must have started it."""
    infer = folder / "cpu" / "infer"
    finished.rewrite(infer / "run.json", edit(environment__runtime="ais_infer"))
    (infer / name).unlink()
    finished.rewrite(infer / "stage.json", lambda values: values["files"].pop(name))
    finished.seal(folder / "cpu")
    assert f"infer/{name}" in invalid(folder, boxes, "cpu").reason


@pytest.mark.parametrize("tool", ["ais_infer", "ais_bench"])
def test_a_pass_by_the_vendors_tool_has_no_times(
    tmp_path: Path, boxes: datasets.Dataset, tool: str
) -> None:
    """Where the job asked for it, its own summary is all that there is."""
    options = {"ais_infer": "/opt/ais_infer"}
    runner = {"threads": 1, "name": "aclruntime", "options": options}
    environment = {**finished.run_record(1)["environment"], "runtime": tool}
    finished.finish(tmp_path, boxes, settings={"runner": runner}, environment=environment)
    infer = tmp_path / "cpu" / "infer"
    for name in ("times.csv", "conditions.csv"):
        (infer / name).unlink()
        finished.rewrite(infer / "stage.json", lambda values, one=name: values["files"].pop(one))
    finished.seal(tmp_path / "cpu")
    known = finished.known(tmp_path, boxes)
    results.write(collate.compute(tmp_path / "cpu", known), tmp_path / "cpu")
    (row,) = compare.compare(compare.collect(tmp_path, known)).rows
    assert (row.status, row.reason) == ("measured", "")
    assert row.remarks == ["The conditions of its pass were not recorded."]


def test_a_copied_folder(folder: Path, boxes: datasets.Dataset) -> None:
    """H1: a row of the CPU under the name of a device, with a result.json of its own."""
    shutil.rmtree(folder / "T4")
    shutil.copytree(folder / "cpu", folder / "T4")
    values = {"target": "T4", "title": "NVIDIA T4", "device_ips": 1234.5}
    finished.rewrite(folder / "T4" / "result.json", edit(**values))
    reason = invalid(folder, boxes, "T4").reason
    assert "infer/run.json is the record of 'cpu', not of 'T4'" in reason
    assert "device_ips is 1234.5, not 50.0" in reason


def test_a_pass_of_another_device_under_a_targets_name(
    tmp_path: Path, boxes: datasets.Dataset
) -> None:
    """A pass on a processor, written as the T4's in every record."""
    finished.finish(tmp_path, boxes, target="T4", title="NVIDIA T4")
    meant = {"T4": ("onnxruntime", "CUDAExecutionProvider")}
    known = replace(finished.known(tmp_path, boxes), runners=meant)
    (row,) = compare.compare(compare.collect(tmp_path, known)).rows
    assert row.status == "invalid"
    assert row.reason.endswith(
        "infer/stage.json: the job is for onnxruntime on CPUExecutionProvider, T4 runs by "
        "onnxruntime on CUDAExecutionProvider"
    )


def test_a_job_for_one_device_and_a_pass_on_another(folder: Path, boxes: datasets.Dataset) -> None:
    path = folder / "cpu" / "infer" / "run.json"
    finished.rewrite(path, edit(environment__provider="CUDAExecutionProvider"))
    finished.seal(folder / "cpu")
    reason = invalid(folder, boxes, "cpu").reason
    assert "CUDAExecutionProvider ran the network, the job asks for CPUExecutionProvider" in reason


def test_what_each_target_runs_by() -> None:
    known = collate.runners_of(targets.load(Options().targets, backends.row))
    assert known["cpu"] == ("onnxruntime", "CPUExecutionProvider")
    assert known["T4"] == ("onnxruntime", "CUDAExecutionProvider")
    assert known["310P3"] == ("aclruntime", "")


def test_a_folder_of_no_target(folder: Path, boxes: datasets.Dataset) -> None:
    (folder / "cpu").rename(folder / "H100")
    row = table(folder, boxes).rows[-1]
    assert (row.target, row.status) == ("H100", "invalid") or "H100" in row.reason


def test_a_data_set_that_has_changed_since(folder: Path, tmp_path: Path) -> None:
    other = finished.dataset(tmp_path / "other", seed=2)
    rows = table(folder, other).rows
    assert {row.status for row in rows} == {"invalid"}
    assert all("another data set" in row.reason for row in rows)
