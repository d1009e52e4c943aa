"""The doctor's checks: parsers on what the tools really print, and what each finding says."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest
from cascadeport.backends.ascend import checks as npu
from cascadeport.backends.ascend import host as ascend
from cascadeport.backends.ascend import releases
from cascadeport.backends.onnxruntime import nvidia
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.core.check import Finding
from cascadeport.core.context import Context
from cascadeport.doctor import (
    as_json,
    as_text,
    as_values,
    containers,
    is_healthy,
    require,
    run_checks,
)
from cascadeport.pipeline.stages import infer

from tests.helpers.contexts import context

# As guides of the CANN 5.1.RC2 time show it.
NPU_SMI_22 = """\
+--------------------------------------------------------------------------------------------+
| npu-smi 22.0.0                       Version: 22.0.2                                       |
+-------------------+-----------------+------------------------------------------------------+
| NPU     Name      | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device    | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===================+=================+======================================================+
| 0       310P3     | OK              | 16.3         53                1236 / 1236           |
| 0       0         | 0000:86:00.0    | 0            4060 / 21534                            |
+===================+=================+======================================================+
"""
# Before hugepages were shown.
NPU_SMI_21 = """\
+------------------------------------------------------------------------------+
| npu-smi 21.0.3.1                     Version: 21.0.3.1                       |
+-------------------+-----------------+----------------------------------------+
| NPU     Name      | Health          | Power(W)          Temp(C)              |
| Chip    Device    | Bus-Id          | AICore(%)         Memory-Usage(MB)     |
+===================+=================+========================================+
| 0       310       | OK              | 12.8              58                   |
| 0       0         | NA              | 0                 5324 / 8192          |
+===================+=================+========================================+
"""
# With the table of processes, as newer drivers print it; power is not always reported.
NPU_SMI_23 = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 23.0.0                                   Version: 23.0.0 |
+-------------------------------+-----------------+----------------------------------------------+
| NPU     Name                  | Health          | Power(W) Temp(C)     Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB) |
+===============================+=================+==============================================+
| 2       310P3                 | Warning         | NA           61                0     / 969 |
| 0       0                     | 0000:01:00.0    | 37           577  / 7759 |
+===============================+=================+==============================================+
+-------------------------------+-----------------+----------------------------------------------+
| NPU     Chip                  | Process id      | Process name             | Process memory(MB) |
+===============================+=================+==============================================+
| No running processes found in NPU 0 |
+===============================+=================+==============================================+
| 2       0                     | 1333928         |                          | 37709 |
+===============================+=================+==============================================+
"""


def finding(findings: list[Finding], check: str) -> Finding:
    return next(one for one in findings if one.check == check)


def test_npu_smi_of_the_guides_time() -> None:
    report = npu.parse_npu_smi(NPU_SMI_22)
    assert (report.tool, report.driver) == ("22.0.0", "22.0.2")
    (chip,) = report.chips
    assert (chip.npu, chip.chip, chip.device, chip.name) == (0, 0, 0, "310P3")
    assert (chip.health, chip.power_w, chip.temperature_c) == ("OK", 16.3, 53.0)
    assert (chip.ai_core_percent, chip.memory_used_mb, chip.memory_total_mb) == (0, 4060, 21534)
    assert report.processes == ()


def test_npu_smi_without_hugepages() -> None:
    (chip,) = npu.parse_npu_smi(NPU_SMI_21).chips
    assert (chip.name, chip.memory_used_mb, chip.memory_total_mb) == ("310", 5324, 8192)


def test_npu_smi_with_processes() -> None:
    report = npu.parse_npu_smi(NPU_SMI_23)
    (chip,) = report.chips
    assert (chip.npu, chip.health, chip.power_w, chip.ai_core_percent) == (2, "Warning", None, 37)
    (process,) = report.processes
    assert (process.npu, process.chip, process.pid, process.memory_mb) == (2, 0, 1333928, 37709)


def test_npu_smi_that_fails_is_quoted() -> None:
    with pytest.raises(CascadeportError, match="is not its table") as caught:
        npu.parse_npu_smi("dcmi module initialize failed. ret is -8005")
    assert "-8005" in caught.value.where


def test_drivers_in_order() -> None:
    versions = ["5.1.RC1", "5.1.rc2", "21.0.3.1", "21.0.4", "22.0.RC1", "22.0.RC2", "22.0.2"]
    assert sorted(versions, key=ascend.release) == versions
    cann = releases.default()
    assert ascend.driver_wanted("5.1.rc2", cann) == "5.1.RC2"
    assert ascend.driver_wanted("21.0.4", cann) == "22.0.RC2"
    assert ascend.driver_wanted("22.0.2", cann) == "22.0.RC2"


GPUS = (
    "0, Tesla T4, 535.161.08, 0, 15360, 0\n1, NVIDIA H100 80GB HBM3, 535.161.08, 4, 81559, [N/A]\n"
)


def test_nvidia_smi() -> None:
    gpus = nvidia.parse_gpus(GPUS)
    assert [gpu.name for gpu in gpus] == ["Tesla T4", "NVIDIA H100 80GB HBM3"]
    assert gpus[0].memory_total_mb == 15360
    assert gpus[1].busy_percent is None
    assert nvidia.judge_idle(gpus, []).status == "ok"
    processes = nvidia.parse_processes("4711, /usr/bin/python3, 1234\n")
    busy = nvidia.judge_idle(gpus, processes)
    assert busy.status == "warn"
    assert "/usr/bin/python3 (4711)" in busy.finding


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the front of PATH for tools of a host that this one is not."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def tool(folder: Path, name: str, prints: str, code: int = 0) -> None:
    (folder / f"{name}.txt").write_text(prints)
    program = folder / name
    program.write_text(f"#!/bin/sh\ncat '{folder}/{name}.txt'\nexit {code}\n")
    program.chmod(0o755)


def npu_context(**variables: str) -> Context:
    opened = context("310P3")
    return dataclasses.replace(opened, variables={**opened.variables, **variables})


def test_the_wrong_chip_is_named(tools: Path) -> None:
    tool(tools, "npu-smi", NPU_SMI_21)
    found = npu._chips(npu_context())
    assert found.status == "fail"
    assert "310; this target is for Ascend310P3" in found.finding


def test_an_unhealthy_chip_is_reported(tools: Path) -> None:
    tool(tools, "npu-smi", NPU_SMI_23)
    assert npu._chips(npu_context()).finding == "Chip 0 is unhealthy: Warning."


def test_other_processes_are_named(tools: Path) -> None:
    tool(tools, "npu-smi", NPU_SMI_23)
    found = npu._idle(npu_context())
    assert found.status == "warn"
    assert "1333928" in found.finding
    assert "37 % busy" in found.finding


def test_a_healthy_idle_chip(tools: Path) -> None:
    tool(tools, "npu-smi", NPU_SMI_22)
    assert npu._chips(npu_context()).status == "ok"
    assert npu._idle(npu_context()).status == "ok"


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("21.0.4", "fail"),
        ("22.0.RC2", "ok"),
        ("23.0.0", "ok"),
        ("5.1.rc1", "fail"),
        ("24.1.rc2", "warn"),
        ("25.2.0", "warn"),
    ],
)
def test_the_driver_is_compared_with_cann(tmp_path: Path, version: str, status: str) -> None:
    (tmp_path / "version.info").write_text(f"Version={version}\nascendhal_version=4.0.0\n")
    found = npu._driver(npu_context(ASCEND_DRIVER=str(tmp_path)))
    assert found.status == status
    assert version in found.finding


def test_a_driver_of_another_decade_says_what_it_is_compatible_with(tmp_path: Path) -> None:
    (tmp_path / "version.info").write_text(
        "Version=25.2.0\ncompatible_version=[V100R001C13],[V100R001C23]\n"
    )
    found = npu._driver(npu_context(ASCEND_DRIVER=str(tmp_path)))
    assert found.status == "warn"
    assert "years newer than CANN 5.1.RC2" in found.finding
    assert "[V100R001C13],[V100R001C23]" in found.finding


def test_the_vendor_s_packages_are_asked_for(tmp_path: Path) -> None:
    found = npu._packages(npu_context(CANN=str(tmp_path)))
    assert found.status == "fail"
    assert "Ascend-cann-toolkit_5.1.RC2_linux-" in found.finding
    assert "aclruntime-63a74de.tar.gz" in found.finding
    assert "SHA256SUMS" in found.finding
    assert "hiascend.com" in found.remedy


def test_packages_in_place(tmp_path: Path) -> None:
    cann = releases.default()
    patterns = (*cann.packages, cann.aclruntime.wheel)
    names = [cann.named(name, "x86_64").replace("*", "0.0.2") for name in patterns]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "SHA256SUMS").write_text("".join(f"{'0' * 64}  {name}\n" for name in names))
    assert npu._packages(npu_context(CANN=str(tmp_path))).status == "ok"
    # Where the release's checksum is known, the user's record has to agree.
    known = cann.model_copy(update={"sha256": {names[0]: "1" * 64, names[1]: "0" * 64}})
    absent = ascend.missing_packages({"CANN": str(tmp_path)}, known)
    assert absent == [f"the {names[0]} of checksum {'1' * 64}"]
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {names[0]}\n")
    assert f"{names[1]} in SHA256SUMS" in npu._packages(npu_context(CANN=str(tmp_path))).finding


def test_a_machine_without_npu_is_reported_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/dev/davinci0").exists():
        pytest.skip("this machine has an NPU")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    run_checks(context("310P3"))  # modules are loaded once
    began = time.process_time()
    with pytest.raises(CascadeportError, match="cannot run here") as caught:
        require(context("310P3"))
    # Processor time: what the checks cost, whatever else the machine does.
    assert time.process_time() - began < 1
    assert any(
        "/dev/davinci0" in detail and "--simulate" in detail for detail in caught.value.details
    )


def test_the_cpu_target_needs_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    findings = run_checks(context("cpu"))
    assert "engine" not in [one.check for one in findings]
    assert finding(findings, "python").status == "ok"


def test_no_engine_is_a_failure_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    findings = run_checks(context("cpu", engine="docker"))
    found = finding(findings, "engine")
    assert found.status == "fail"
    assert "Start it" in found.remedy
    assert not is_healthy(findings)


def test_a_wheelhouse_that_lacks_wheels(tmp_path: Path) -> None:
    opened = context("cpu", engine="docker")
    opened = dataclasses.replace(opened, variables={"WHEELS": str(tmp_path)})
    found = containers._wheelhouse(opened)
    assert found.status == "fail"
    assert "onnxruntime==" in found.finding
    (tmp_path / "cpu").mkdir()
    lock = (REPOSITORY / "images/cpu/requirements.lock").read_text()
    for line in lock.splitlines():
        if "==" in line:
            name, version = line.split()[0].split("==")
            (tmp_path / "cpu" / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").touch()
    assert containers._wheelhouse(opened).status == "ok"


def test_a_data_folder_that_is_not_there() -> None:
    findings = run_checks(context("cpu", data="/nonexistent/coco"))
    assert finding(findings, "data").status == "fail"


def test_findings_for_people_and_programs() -> None:
    findings = [
        Finding("disk", "ok", "Enough."),
        Finding("devices", "fail", "None.", reason="It must.", remedy="Buy one."),
    ]
    text = as_text(findings)
    assert "fail  devices" in text
    assert "fix:  Buy one." in text
    report = json.loads(as_json(as_values(findings, context())))
    assert report["healthy"] is False
    assert report["findings"][1]["remedy"] == "Buy one."


def test_whoever_is_busy_is_named_for_both_kinds_of_device(tools: Path) -> None:
    tool(tools, "npu-smi", NPU_SMI_23)
    (sentence,) = infer._busy(context("310P3"))
    assert "1333928" in sentence
    assert infer._busy(context("310P3", simulate=True)) == []
    tool(tools, "npu-smi", NPU_SMI_22)
    assert infer._busy(context("310P3")) == []
    tool(tools, "nvidia-smi", GPUS.replace("0, 15360, 0", "0, 15360, 88"))
    (sentence,) = infer._busy(context("T4"))
    assert "GPU 0 is 88 % busy" in sentence
    assert infer._busy(context("cpu")) == []


def test_an_older_nvidia_driver_is_tried_and_said(tools: Path) -> None:
    tool(tools, "nvidia-smi", GPUS)
    finding = nvidia._gpu(context("T4"))
    assert finding.status == "warn"
    assert "535.161.08" in finding.finding
    assert "forward compatibility" in finding.reason
    assert "580" in finding.remedy
    tool(tools, "nvidia-smi", GPUS.replace("535.161.08", "580.95.05"))
    assert nvidia._gpu(context("T4")).status == "ok"


def test_a_driver_that_the_toolkit_refuses_is_not_a_missing_toolkit() -> None:
    # As libnvidia-container says it.
    text = (
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0, please update "
        "your driver to a newer version"
    )
    error = nvidia.refusal(text, "unix:///x")
    assert error is not None
    assert "too old" in error.what
    assert "580" in error.next
    other = nvidia.refusal('could not select device driver "nvidia"', "unix:///x")
    assert other is not None
    assert "cannot pass a GPU" in other.what
