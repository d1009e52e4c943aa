"""Tools and engines whose answers have another form: every check of the doctor still ends."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cascadeport.backends.ascend import checks as npu
from cascadeport.backends.onnxruntime import nvidia
from cascadeport.base.errors import CascadeportError
from cascadeport.containers import connection, images
from cascadeport.core.check import Check, Finding
from cascadeport.core.machine import Answer, Machine
from cascadeport.doctor import containers

from tests.helpers.contexts import context

NPU_SMI = """\
| npu-smi 22.0.0                       Version: 22.0.2                                       |
| NPU     Name      | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device    | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
| 0       310P3     | OK              | 16.3         53                1236 / 1236           |
| 0       0         | 0000:86:00.0    | 0            4060 / 21534                            |
| NPU     Chip      | Process id      | Process name             | Process memory(MB) |
| 0       0         | 4242            | python3                  | 1234               |
"""


def test_tables_of_npu_smi() -> None:
    for seed in range(400):
        draw = random.Random(seed)
        lines = [list(line) for line in NPU_SMI.splitlines()]
        for line in lines[1:]:
            for _ in range(draw.randrange(6)):
                line[draw.randrange(len(line))] = draw.choice("0123456789|² x%/-\x1b")
            if draw.random() < 0.2:
                del line[draw.randrange(len(line)) :]
        with contextlib.suppress(CascadeportError):
            npu.parse_npu_smi("\n".join("".join(line) for line in lines))


@pytest.mark.parametrize("driver", ["unknown", "[N/A]", "", "9" * 5000, "²"])
def test_a_driver_of_no_version(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"0, Tesla T4, {driver}, 1, 2, 3\n"
    monkeypatch.setattr(Machine, "run", lambda self, *argv: Answer(0, line))
    finding = Check("gpu", lambda c: True, nvidia._gpu).run(context("T4", engine="docker"))
    assert finding.status == "warn"
    assert "cannot be read" in finding.finding


def test_rows_of_nvidia_smi() -> None:
    rows = "²,a,1\n" + "9" * 5000 + ",a,1\n\x00\n7,python3, train.py,100\n8,b,[N/A]\n"
    assert nvidia.parse_processes(rows) == [
        nvidia.Process(7, "python3, train.py", 100),
        nvidia.Process(8, "b", None),
    ]


class _Client:
    """An engine whose answers lack everything."""

    def __init__(self, answer: Any) -> None:
        self.version = self.info = lambda: answer

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "answer", [{}, {"Version": None}, {"Version": "9" * 5000}, {"Runtimes": 3}, [], None]
)
def test_engines_of_odd_answers(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "connect", lambda host: _Client(answer))
    about = context("T4", engine="docker", environ={"PATH": ""})
    for check in containers.CHECKS:
        if check.name in ("engine", "image store", "runtime"):
            assert isinstance(check.run(about), Finding)


def test_an_engine_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    import docker.errors

    def gone() -> None:
        raise docker.errors.DockerException("gone")

    client = SimpleNamespace(version=gone, info=gone, close=lambda: None)
    monkeypatch.setattr(connection, "connect", lambda host: client)
    (check,) = (check for check in containers.CHECKS if check.name == "engine")
    finding = check.run(context("T4", engine="docker", environ={"PATH": ""}))
    assert finding.status == "fail"
    assert "went away" in finding.finding


@pytest.mark.parametrize("script", ["printf '\\377version 20.1'", None])
def test_a_docker_command_that_is_none(
    script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_bytes(f"#!/bin/sh\n{script}\n".encode() if script else b"\x7fELF\0")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found, environment = images.command()
    assert found == [str(program)]
    assert environment["DOCKER_BUILDKIT"] in ("0", "1")
