"""A job by way of ais_infer: how its failures are reported, and how its summary is read.

All of it runs in tests/integration/test_docker_targets.py, with the simulator's ais_infer.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cascadeport.backends.ascend import host as ascend
from cascadeport.backends.ascend import personalities, releases, stand_in_files
from cascadeport.base.errors import CascadeportError
from cascadeport.pipeline.planner import plan

from bundle.errors import BundleError
from bundle.run import run
from tests.helpers import bundle_jobs as jobs
from tests.helpers import contexts


@pytest.fixture
def ais_infer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module; aclruntime itself is asked only for its version there."""
    monkeypatch.setitem(sys.modules, "aclruntime", ModuleType("aclruntime"))
    monkeypatch.delitem(sys.modules, "bundle.runners.aclruntime.ais_infer", raising=False)
    yield importlib.import_module("bundle.runners.aclruntime.ais_infer")
    sys.modules.pop("bundle.runners.aclruntime.ais_infer", None)


def job(folder: Path, tool: str) -> Any:
    content = jobs.small(folder)
    path = folder / "tool" / "ais_infer.py"
    path.parent.mkdir()
    path.write_text(tool)
    content["runner"]["options"] = {"ais_infer": str(path.parent)}
    return jobs.checked(content)


def test_a_tool_that_is_not_there(ais_infer: Any, tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    content["runner"]["options"] = {"ais_infer": str(tmp_path / "absent")}
    with pytest.raises(BundleError, match=r"command line is missing") as caught:
        ais_infer.run_bins(jobs.checked(content), str(tmp_path / "out"))
    assert "docs/containers.md" in caught.value.next


def test_a_disk_that_is_too_small(
    ais_infer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(BundleError, match=r"the disk has 0\.0 GB") as caught:
        ais_infer.run_bins(job(tmp_path, ""), str(tmp_path / "out"))
    assert "--limit" in caught.value.next


def test_its_own_error_is_reported_and_nothing_large_is_left(
    ais_infer: Any, tmp_path: Path
) -> None:
    tool = "print('[ERROR] acl open device 0 failed')\nraise RuntimeError('[507033][x]')\n"
    with pytest.raises(BundleError, match=r"code 1 on chip 0: .*507033") as caught:
        ais_infer.run_bins(job(tmp_path, tool), str(tmp_path / "out"))
    assert "acl open device 0 failed" in Path(caught.value.where).read_text()
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "run.json" not in left
    assert not {"bins", "ais_infer"} & set(left)


def test_a_run_without_a_summary_is_no_result(ais_infer: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="wrote no readable summary"):
        ais_infer.run_bins(job(tmp_path, "print('nothing done')"), str(tmp_path / "out"))
    assert not (tmp_path / "out" / "run.json").exists()


# What the simulator's ais_infer needs of aclruntime, on onnxruntime.
ACLRUNTIME = """\
import json, os, types, numpy, onnxruntime

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "personality.json")) as file:
    PERSONALITY = json.load(file)

class Tensor:
    def __init__(self, array):
        self.array = array
    def to_device(self, device):
        pass
    def to_host(self):
        pass
    def __array__(self, dtype=None, copy=None):
        return self.array

def session_options():
    return types.SimpleNamespace(loop=1)

class InferenceSession:
    def __init__(self, path, device, options):
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (one,) = self._session.get_inputs()
        self._shape = one.shape
        self._input = types.SimpleNamespace(name=one.name, realsize=4 * int(numpy.prod(one.shape)))
        self._times = []
    def set_staticbatch(self):
        return 0
    def get_inputs(self):
        return [self._input]
    def get_outputs(self):
        return self._session.get_outputs()
    def sumary(self):
        return types.SimpleNamespace(exec_time_list=self._times)
    def reset_sumaryinfo(self):
        self._times = []
    def run(self, names, tensors):
        feed = tensors[0].array.view(numpy.float32).reshape(self._shape)
        self._times.append((5.0, 7.0) if PERSONALITY["times"] == "pairs" else 2.0)
        return [Tensor(one) for one in self._session.run(names, {self._input.name: feed})]
    # Revisions before 2022-10-11 have these, and those before 2022-07-18 no other times.
    if PERSONALITY["steps"]:
        def run_setinputs(self, tensors):
            self._tensors = tensors
        def run_execute(self, loop):
            names = [one.name for one in self._session.get_outputs()]
            self._outputs = self.run(names, self._tensors)
        def run_getoutputs(self, names):
            return self._outputs
"""


def stand_in(folder: Path, revision: str) -> Path:
    """The stand-in for a revision of the tool, on the aclruntime above."""
    facts = personalities.revision(revision)
    for name, content, _ in stand_in_files.tool(facts):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root,) = folder.iterdir()
    (root / "aclruntime.py").write_text(ACLRUNTIME)
    (root / "personality.json").write_text(json.dumps(facts))
    return root


@pytest.mark.parametrize("revision", personalities.revisions())
def test_every_revision_of_the_tool(ais_infer: Any, tmp_path: Path, revision: str) -> None:
    """Its command line, the names of its outputs, its summary's place, its times."""
    content = jobs.small(tmp_path)
    run(jobs.checked(content), str(tmp_path / "streamed"))
    # Of a network that others may write, or without the suffix .om, a strict one takes a copy only.
    network = Path(content["networks"][0]["path"])
    network.chmod(0o666)
    content["runner"]["options"] = {"ais_infer": str(stand_in(tmp_path / "tool", revision))}
    out = tmp_path / "out"
    ais_infer.run_bins(jobs.checked(content), str(out))
    streamed = (tmp_path / "streamed" / "detections.json").read_text()
    assert (out / "detections.json").read_text() == streamed
    record = json.loads((out / "run.json").read_text())
    facts = personalities.revision(revision)
    assert record["environment"]["runtime"] == facts["tool"].split(".")[0]
    if not facts["host_clock"]:
        assert record["summary"]["chip_ips"] == 500.0
    assert record["summary"]["latency_ms"]["n"] == len(content["pictures"]["items"])
    assert list(out.rglob("*.bin")) == []


def test_a_strict_revision_takes_no_name_of_every_letter(ais_infer: Any, tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    item = content["pictures"]["items"][0]
    root = Path(content["pictures"]["root"])
    (root / item["file"]).rename(root / "a picture.png")
    item["file"] = "a picture.png"
    content["runner"]["options"] = {"ais_infer": str(stand_in(tmp_path / "tool", "2025-12"))}
    with pytest.raises(BundleError, match="takes names of letters") as caught:
        ais_infer.run_bins(jobs.checked(content), str(tmp_path / "out"))
    assert caught.value.where == "a picture.bin"


@pytest.mark.parametrize("devices", [[0], [0, 1, 2]])
@pytest.mark.parametrize("make", [jobs.small, jobs.oriented], ids=["one shape", "two shapes"])
def test_the_detections_are_those_of_the_streaming_pass(
    ais_infer: Any, tmp_path: Path, make: Any, devices: list[int]
) -> None:
    content = make(tmp_path)
    run(jobs.checked(content), str(tmp_path / "streamed"))
    tool = stand_in(tmp_path / "tool", "2022-09")
    content["runner"]["options"] = {"ais_infer": str(tool), "devices": devices}
    out = tmp_path / "out"
    ais_infer.run_bins(jobs.checked(content), str(out))
    streamed = (tmp_path / "streamed" / "detections.json").read_text()
    assert (out / "detections.json").read_text() == streamed
    record = json.loads((out / "run.json").read_text())
    assert record["environment"]["chips"] == len(devices)
    assert record["summary"]["chip_ips"] == 500.0
    assert record["summary"]["device_ips"] == 500.0 * len(devices)
    assert record["summary"]["latency_ms"]["n"] == len(content["pictures"]["items"])
    assert list(out.rglob("*.bin")) == []


def share(ais_infer: Any, folder: Path, device: int, files: int, mean: float, late: bool) -> Any:
    one = ais_infer.Share(
        device, "network.om", str(folder / "in"), str(folder / "out"), str(folder / "log")
    )
    made = folder / "out" / "2022_09_15-10_00_00"
    made.mkdir(parents=True)
    Path(one.inputs).mkdir()
    for number in range(files):
        (Path(one.inputs) / f"{number}.bin").touch()
    times = {"min": 1.0, "max": 9.0, "mean": mean, "median": 4.0, "percentile(99%)": 8.0}
    path = folder / "out" / f"{made.name}_summary.json" if late else made / "sumary.json"
    path.write_text(json.dumps({"NPU_compute_time": times, "throughput": 1000 / mean}))
    return one


@pytest.mark.parametrize("late", [False, True], ids=["inside", "beside"])
def test_a_chip_s_own_times(ais_infer: Any, tmp_path: Path, late: bool) -> None:
    one = share(ais_infer, tmp_path, 0, 662, 5.0, late)
    summary = ais_infer._summarise([one], [ais_infer._read_summary(one)])
    assert summary["chip_ips"] == summary["device_ips"] == 200.0
    assert summary["latency_ms"] == {"n": 662, "mean": 5.0, "p50": 4.0, "p90": None, "p99": 8.0}


def test_a_card_is_the_sum_of_its_chips(ais_infer: Any, tmp_path: Path) -> None:
    shares = [
        share(ais_infer, tmp_path / "0", 0, 3, 5.0, False),
        share(ais_infer, tmp_path / "1", 1, 1, 10.0, False),
    ]
    summary = ais_infer._summarise(shares, [ais_infer._read_summary(one) for one in shares])
    assert summary["device_ips"] == pytest.approx(300.0)
    assert summary["chip_ips"] == pytest.approx(1000 / 6.25)
    # The percentiles of two chips cannot be combined.
    assert summary["latency_ms"]["p50"] is summary["latency_ms"]["p99"] is None


def test_only_ascend_targets_have_it() -> None:
    with pytest.raises(CascadeportError, match="--bins supports only the targets 310 and 310P3"):
        contexts.context("cpu", environ={}, bins=True)


def test_a_result_of_its_own() -> None:
    asked = {"simulate": True, "bins": True, "model": "demo", "data": "demo"}
    made = plan(contexts.context("310P3", environ={}, **asked))
    assert made.results.name == "310P3-bins"
    assert made.title == "Ascend 310P3 (by ais_infer)"


def test_the_vendor_s_tool_is_asked_for_only_then(tmp_path: Path) -> None:
    packages, cann = {"CANN": str(tmp_path)}, releases.default()

    def missing(bins: bool) -> str:
        return ", ".join(ascend.missing_packages(packages, cann, bins))

    assert "ais_infer.tar.gz" not in missing(False)
    assert "aclruntime-63a74de.tar.gz or ais_infer.tar.gz" in missing(True)
    # The sources of aclruntime come with the command line of their own revision.
    (tmp_path / "aclruntime-63a74de.tar.gz").write_bytes(b"")
    assert "ais_infer.tar.gz" not in missing(True)
