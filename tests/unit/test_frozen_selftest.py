"""selftest and about: which part differs, and what an image says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle import preprocess
from bundle.errors import BundleError
from bundle.frozen import golden
from bundle.frozen.golden import rows_difference
from bundle.frozen.layout import read_frozen
from bundle.frozen.recording import record
from bundle.frozen.selftest import selftest
from bundle.job import Job
from bundle.runners import Outputs, Runner, open_runner
from tests.helpers import frozen_folder
from tests.helpers.frozen_folder import call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete frozen folder."""
    return frozen_folder.complete(tmp_path)


def states(folder: Path, load: Callable[[Job], Runner] = open_runner) -> dict[str, set[str]]:
    """The states of every part, over all pictures."""
    found: dict[str, set[str]] = {}
    for one in selftest(read_frozen(str(folder)), load):
        found.setdefault(one.part, set()).add(one.state)
    return found


PARTS = ("decode", "network input", "network output", "postprocess", "device")
EQUAL = {part: {"equal"} for part in PARTS}


class Off(Runner):
    """A device whose outputs are off by a little, or by more."""

    def __init__(self, job: Job, pixels: float) -> None:
        self._inner = open_runner(job)
        self._pixels = np.float32(pixels)

    def run(self, batch: np.ndarray) -> Outputs:
        found = self._inner.run(batch)
        boxes = found.boxes.copy()
        boxes[boxes[:, 4] > 0, 0] += self._pixels
        return found._replace(boxes=boxes)

    def describe(self) -> dict[str, Any]:
        return self._inner.describe()

    def close(self) -> None:
        self._inner.close()


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edits the first picture of expected.json."""
    path = folder / "golden" / "expected.json"
    content = json.loads(path.read_text())
    change(content["pictures"][0])
    path.write_text(json.dumps(content))


def test_the_command_passes(folder: Path) -> None:
    done = call(folder, "selftest")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "passed: this image finds what the frozen run found"
    assert done.stdout.count("  equal\n") == 13
    assert json.loads((folder / "golden/expected.json").read_text())["agreement"] == "equal"


def test_recording_again_gives_the_same_file(folder: Path) -> None:
    path = folder / "golden" / "expected.json"
    before = path.read_bytes()
    done = call(folder, "record", folder)
    assert done.stdout == "recorded: equal to what the run found\n", done.stderr
    assert path.read_bytes() == before


def test_the_last_digits_are_tolerated_and_said(folder: Path) -> None:
    wanted = {**EQUAL, "network output": {"within tolerance"}}
    assert states(folder, lambda job: Off(job, 0.01)) == wanted
    assert states(folder, lambda job: Off(job, 0.2)) == {**EQUAL, "network output": {"differs"}}


def test_another_input_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = preprocess._table
    monkeypatch.setattr(preprocess, "_table", lambda mean, std: right(mean + 0.001, std))
    assert states(folder)["network input"] == {"differs"}
    assert states(folder)["decode"] == {"equal"}


def test_other_pixels_are_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = golden.decode
    monkeypatch.setattr(golden, "decode", lambda *one: right(*one) // 2)
    assert states(folder)["decode"] == {"differs"}
    assert states(folder)["postprocess"] == {"equal"}


def test_other_postprocessing_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = golden.locate
    monkeypatch.setattr(golden, "locate", lambda b, *rest: right(b + np.float32(0.001), *rest))
    found = states(folder)
    assert found["postprocess"] == {"differs"}
    assert found["network output"] == {"equal"}


def test_another_device_is_noticed(folder: Path) -> None:
    class Elsewhere(Off):
        def describe(self) -> dict[str, Any]:
            return {"problems": ["3 of 3 expensive nodes did not run on CUDA."]}

    class Simulated(Off):
        def describe(self) -> dict[str, Any]:
            return {"simulated": True}

    for kind in (Elsewhere, Simulated):
        assert states(folder, lambda job, kind=kind: kind(job, 0)) == {  # type: ignore[misc]
            **EQUAL,
            "device": {"differs"},
        }


def test_a_failing_device_and_another_picture(folder: Path) -> None:
    class Lost(Off):
        def run(self, batch: np.ndarray) -> Outputs:
            raise BundleError("The device is lost.", "device 0", "Check it.")

    assert states(folder, lambda job: Lost(job, 0))["network output"] == {"differs"}
    with (folder / "golden" / "0.png").open("ab") as stream:
        stream.write(b"\0")
    done = call(folder, "selftest", "--json")
    assert done.returncode == 1
    assert "FAILED: file differs from the frozen run" in done.stderr
    first = json.loads(done.stdout)[0]
    assert (first["picture"], first["part"], first["state"]) == ("0.png", "file", "differs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.update(boxes=[[1, 2, 3]]), "boxes is not a list of 5 numbers"),
        (lambda one: one.update(labels=[1.5]), "labels is not a list of integers"),
        (lambda one: one.update(file="../x"), "is not the name of a file"),
        (lambda one: one.update(sha256="x"), "sha256 is not one"),
        (lambda one: one.pop("decoded"), "decoded is missing"),
        (lambda one: one.update(detections={}), "detections is not a list"),
    ],
)
def test_a_damaged_record_is_a_sentence(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(folder, change)
    with pytest.raises(BundleError, match=message):
        states(folder)


def test_what_the_run_did_not_find_is_not_recorded(folder: Path) -> None:
    path = folder / "golden" / "run.json"
    content = json.loads(path.read_text())
    frozen = read_frozen(str(folder))
    for change, message in (
        (lambda rows: rows[0]["bbox"].__setitem__(0, rows[0]["bbox"][0] + 1), "no detection of"),
        (lambda rows: rows.pop(), "1 detections, not 0"),
        (lambda rows: rows[0].update(category_id=5), "no detection of class 5"),
    ):
        other = json.loads(json.dumps(content))
        change(other["detections"])
        path.write_text(json.dumps(other))
        with pytest.raises(BundleError, match=message):
            record(frozen, open_runner)
    content["detections"][0]["bbox"][0] += 0.01
    path.write_text(json.dumps(content))
    assert record(frozen, open_runner) == "within tolerance"


def test_pictures_without_detections_prove_nothing(tmp_path: Path) -> None:
    folder = frozen_folder.complete(tmp_path)
    path = folder / "golden" / "run.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "detections": []}))

    class Nothing(Off):
        def run(self, batch: np.ndarray) -> Outputs:
            return Outputs(np.zeros((0, 5), np.float32), np.zeros(0, np.int64))

    with pytest.raises(BundleError, match="prove nothing"):
        record(read_frozen(str(folder)), lambda job: Nothing(job, 0))


def test_rows_that_changed_places_are_the_same() -> None:
    rows = [
        {"bbox": [0.0, 0.0, 9.0, 9.0], "category_id": 1, "score": 0.5},
        {"bbox": [50.0, 0.0, 9.0, 9.0], "category_id": 1, "score": 0.5},
    ]
    assert rows_difference(rows, rows[::-1]) is None
    assert rows_difference([rows[0], rows[0]], rows) is not None
    assert rows_difference([{}], [{}]) == "the rows are not COCO's"


def test_about(tmp_path: Path) -> None:
    labels = [
        {"name": "simulated", "reason": "It ran on a stand-in."},
        {"name": "forced", "reason": "The run is unsigned."},
    ]
    folder = frozen_folder.complete(tmp_path, labels=labels)
    (folder / "statement.dsse.json").write_text("{}")
    done = call(folder, "about")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("!!!!")
    assert "!! THIS IMAGE IS SIMULATED: It ran on a stand-in." in done.stdout
    assert "!! THIS IMAGE IS FORCED: The run is unsigned." in done.stdout
    for text in ("tiny 1.2.3", "0.7125", "a processor", "2026-11-29T10:00:00Z", "Apache-2.0"):
        assert text in done.stdout
    assert "chip_ips                  none" in done.stdout
    data = json.loads(call(folder, "about", "--json").stdout)
    assert data["labels"] == labels
    assert data["run"] == frozen_folder.ABOUT["run"]
    assert data["here"]["networks"] == data["here"]["networks as frozen"]
    (folder / "networks" / "tiny.onnx").unlink()
    gone = json.loads(call(folder, "about", "--json").stdout)
    assert gone["here"]["networks"] == ["unreadable: No such file or directory"]
