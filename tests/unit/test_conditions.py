"""A row says under which conditions it was measured, as derived from what was sampled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cascadeport import datasets
from cascadeport.backends.onnxruntime import nvidia
from cascadeport.core.device import DeviceState
from cascadeport.pipeline import watch
from cascadeport.pipeline.watch import Watch
from cascadeport.results import comparison as compare
from cascadeport.results import conditions, tables
from cascadeport.results.comparison import Row

from tests.helpers import finished


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"))


def row(folder: Path, boxes: datasets.Dataset) -> Row:
    (found,) = compare.compare(compare.collect(folder, finished.known(folder, boxes))).rows
    return found


def test_a_run_that_had_its_processor_for_itself(tmp_path: Path, boxes: datasets.Dataset) -> None:
    # 9 % of two cores: less than what counts.
    result = finished.finish(tmp_path, boxes, others=0.18)
    found = result.conditions
    assert found is not None
    assert found.own_cores == pytest.approx(1.0)
    assert found.others_cores == pytest.approx(0.18)
    assert found.taken == pytest.approx(0.09)
    assert (found.load_max, found.mhz_min, found.throttled) == (0.5, None, None)
    assert result.remarks == []
    assert row(tmp_path, boxes).status == "measured"


def test_a_run_that_shared_its_processor_says_so(tmp_path: Path, boxes: datasets.Dataset) -> None:
    finished.finish(tmp_path, boxes, others=0.5)
    table = compare.compare(compare.collect(tmp_path, finished.known(tmp_path, boxes)))
    sentence = (
        "It shared its processor: others kept 0.5 of 2 cores busy during the timed passes, more "
        "than 10 %."
    )
    assert table.rows[0].status == "measured"
    assert table.rows[0].remarks == [sentence]
    assert sentence in tables.as_markdown(table)
    assert sentence in tables.as_csv(table)


def test_a_system_that_does_not_tell(tmp_path: Path, boxes: datasets.Dataset) -> None:
    result = finished.finish(tmp_path, boxes, others=None)
    assert result.conditions is not None
    assert result.conditions.others_cores is None
    assert result.remarks == [
        "Nothing tells whether others used the processor during its timed passes."
    ]


def test_a_sandbox_whose_counters_stand_still(tmp_path: Path, boxes: datasets.Dataset) -> None:
    """The machine cannot have been less busy than the pass."""
    result = finished.finish(tmp_path, boxes, others=-0.9)
    assert result.conditions is not None
    assert result.conditions.others_cores is None


def test_a_simulated_row_has_no_speed_and_no_remark(
    tmp_path: Path, boxes: datasets.Dataset
) -> None:
    result = finished.finish(tmp_path, boxes, others=1.0, simulated=True)
    assert (result.status, result.remarks) == ("simulated", [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines[:2], "infer/conditions.csv: The record of the conditions cannot be"),
        (lambda lines: lines[:1] + ["nonsense\n"], "another number of cells"),
        (lambda lines: lines[:1] + ["nan,2,1,1,1,1,,,\n"] * 2, "a number that cannot be"),
        (lambda lines: [lines[0], lines[3], lines[1]], "samples are not in order"),
        (lambda lines: lines[1:], "other columns than this version writes"),
        (lambda lines: [*lines[:2], lines[2].replace(",2,", ",4,")], "samples are not in order"),
    ],
)
def test_conditions_that_the_bundle_did_not_write(
    tmp_path: Path, boxes: datasets.Dataset, change: Any, reason: str
) -> None:
    finished.finish(tmp_path, boxes)
    path = tmp_path / "cpu" / "infer" / "conditions.csv"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    finished.seal(tmp_path / "cpu")
    found = row(tmp_path, boxes)
    assert found.status == "invalid"
    assert reason in found.reason


def test_conditions_of_a_part_of_the_pass(tmp_path: Path, boxes: datasets.Dataset) -> None:
    """A quiet second at the beginning does not stand for the rest."""
    finished.finish(tmp_path, boxes, milliseconds=2000.0)
    path = tmp_path / "cpu" / "infer" / "conditions.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    finished.seal(tmp_path / "cpu")
    assert "infer/conditions.csv is about" in row(tmp_path, boxes).reason


def test_conditions_that_are_missing(tmp_path: Path, boxes: datasets.Dataset) -> None:
    finished.finish(tmp_path, boxes)
    infer = tmp_path / "cpu" / "infer"
    (infer / "conditions.csv").unlink()
    finished.rewrite(infer / "stage.json", lambda values: values["files"].pop("conditions.csv"))
    finished.seal(tmp_path / "cpu")
    found = row(tmp_path, boxes)
    assert found.status == "invalid"
    assert "infer/conditions.csv: The record of the conditions does not exist" in found.reason


def test_an_edited_remark_or_condition(tmp_path: Path, boxes: datasets.Dataset) -> None:
    finished.finish(tmp_path, boxes, others=1.0)
    path = tmp_path / "cpu" / "result.json"
    finished.rewrite(path, lambda values: values.update(remarks=[]))
    assert "result.json: remarks is 0 values, not 1 values" in row(tmp_path, boxes).reason
    finished.finish(tmp_path, boxes, others=1.0)
    finished.rewrite(path, lambda values: values["conditions"].update(others_cores=0.0))
    assert "result.json: conditions.others_cores is 0.0" in row(tmp_path, boxes).reason


# --- devices

_STATE = DeviceState(
    device="GPU 0", clock_mhz=1500, clock_max_mhz=1590, temperature_c=71, power_w=69.5, processes=1
)


def devices(folder: Path, *lines: tuple[str, list[DeviceState]]) -> None:
    text = "".join(
        json.dumps({"seconds": 0, "when": when, "devices": [one.model_dump() for one in states]})
        + "\n"
        for when, states in lines
    )
    (folder / "cpu" / "infer" / "device.jsonl").write_text(text)
    finished.seal(folder / "cpu")


def test_a_device_that_throttled_is_said_to(tmp_path: Path, boxes: datasets.Dataset) -> None:
    finished.finish(tmp_path, boxes)
    hot = _STATE.model_copy(
        update={"throttled": ("temperature",), "clock_mhz": 900, "temperature_c": 90}
    )
    before = _STATE.model_copy(update={"clock_mhz": 300, "processes": 0})
    devices(tmp_path, ("before", [before]), ("during", [_STATE]), ("during", [hot]))
    (found,) = compare.collect(tmp_path, finished.known(tmp_path, boxes))
    assert found.result is not None
    assert found.result.conditions is not None
    (device,) = found.result.conditions.devices
    assert (device.clock_mhz_min, device.clock_mhz_max) == (900, 1500)
    assert (device.temperature_c_max, device.power_w_max) == (90, 69.5)
    assert found.result.remarks == [
        "GPU 0 was slower than it could be during its pass: temperature."
    ]


def test_another_process_on_the_device_during_the_pass(
    tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finished.finish(tmp_path, boxes)
    two = _STATE.model_copy(update={"processes": 2})
    devices(tmp_path, ("before", [_STATE]), ("during", [two]), ("after", [_STATE]))
    found = row(tmp_path, boxes)
    assert found.status == "invalid"
    assert "not alone on the device: 2 processes on GPU 0 during the pass" in found.reason


def test_a_record_of_the_device_that_cannot_be_read(
    tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finished.finish(tmp_path, boxes)
    (tmp_path / "cpu" / "infer" / "device.jsonl").write_text("[\n")
    finished.seal(tmp_path / "cpu")
    assert (
        "infer/device.jsonl: The record of the device is not in the" in row(tmp_path, boxes).reason
    )


def test_what_nvidia_smi_says() -> None:
    """Lines as drivers 470 to 580 print them with --format=csv,noheader,nounits."""
    (idle,) = nvidia.parse_states("0, 300, 1590, 35, 9.87, 0x0000000000000001\n", 0)
    assert (idle.device, idle.clock_mhz, idle.clock_max_mhz) == ("GPU 0", 300, 1590)
    assert (idle.temperature_c, idle.power_w, idle.throttled) == (35, 9.87, ())
    (hot,) = nvidia.parse_states("1, 900, 1590, 92, 70.10, 0x0000000000000024\n", 1)
    assert hot.throttled == ("power limit", "temperature")
    (silent,) = nvidia.parse_states("0, [N/A], [N/A], [N/A], [N/A], [N/A]\n", 1)
    assert silent == DeviceState(device="GPU 0", processes=1)
    assert nvidia.parse_states("No devices were found\n", 0) == []


class _Backend:
    """Answers in turn; an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def device_states(self, context: Any) -> Any:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Context:
    target = None


@pytest.mark.parametrize("failure", [ValueError("odd"), OSError("gone")])
def test_a_tool_that_stops_answering_does_not_stop_the_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    backend = _Backend([_STATE], failure)
    monkeypatch.setattr(watch.backends, "of", lambda target: backend)
    with Watch(_Context(), tmp_path):  # type: ignore[arg-type]
        pass
    before, after = map(json.loads, (tmp_path / watch.FILE).read_text().splitlines())
    assert before["devices"][0]["power_w"] == 69.5
    assert (after["when"], after["error"]) == ("after", f"{type(failure).__name__}: {failure}")
    assert [one.device for one in conditions._devices(tmp_path / watch.FILE)] == ["GPU 0"]


def test_a_target_without_a_tool_has_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.backends, "of", lambda target: _Backend([]))
    with Watch(_Context(), tmp_path):  # type: ignore[arg-type]
        pass
    assert not (tmp_path / watch.FILE).exists()


def test_a_run_with_locks_of_its_own_says_so(tmp_path: Path, boxes: datasets.Dataset) -> None:
    environment = {**finished.run_record(1)["environment"], "locks": "/somewhere"}
    result = finished.finish(tmp_path, boxes, environment=environment)
    assert result.conditions is not None
    assert result.conditions.own_locks
    assert "CASCADEPORT_LOCKS" in result.remarks[0]
