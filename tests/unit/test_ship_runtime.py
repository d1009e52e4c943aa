"""How a frozen image is run: what its target's own declaration allows, and no more."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest
import yaml
from cascadeport import backends
from cascadeport.config.options import Options
from cascadeport.config.targets import load
from cascadeport.ship import papers, runtime
from cascadeport.ship.runtime import Runtime

from tests.helpers import contexts, shipments

TARGETS = sorted(load(Options().targets, backends.row))
FACTS = {
    "name": "x",
    "title": "X",
    "target": "t",
    "target_title": "T",
    "version": "1",
    "repository": "cascadeport/x-t",
    "image": "sha256:" + "1" * 64,
    "manifest": "sha256:" + "5" * 64,
    "labels": [],
    "bytes": 1,
    "compression": "zstd",
    "parts": ["image/image.tar.zst.000"],
    "shell": False,
    "signer": None,
    "has_statement": False,
    "former": {"version": "0", "image": "sha256:" + "2" * 64, "layers": ["3" * 64, "4" * 64]},
}


def of(target: str, **options: object) -> Runtime:
    return runtime.of(contexts.context(target, engine="docker", **options))


def words(how: Runtime, **env: str) -> list[str]:
    """The options as a shell hands them on."""
    done = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {' '.join(how.options)}"],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    return done.stdout.splitlines()


def pairs(found: list[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(found))


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_can_be_run_by_hand_and_by_compose(target: str, tmp_path: Path) -> None:
    how = of(target)
    found = words(how)
    assert "--read-only" in found
    assert ("--cap-drop", "ALL") in pairs(found)
    assert ("--security-opt", "no-new-privileges") in pairs(found)
    assert ("--user", "1000:1000") in pairs(found)
    assert not any("/data" in word or "/model" in word or "/out" in word for word in found)
    assert not any("${" in word for word in found)
    papers.write(tmp_path, FACTS, how)
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert service["read_only"] is True
        assert "build" not in service
    assert shipments.shellcheck(tmp_path / "install") == ""


def test_an_ascend_host_s_devices_and_driver_come_in_by_its_variables() -> None:
    how = of("310P3")
    found = pairs(words(how, DAVINCI0="/dev/davinci3", ASCEND_GID="997"))
    assert ("--device", "/dev/davinci3:/dev/davinci0") in found
    assert ("--device", "/dev/hisi_hdc:/dev/hisi_hdc") in found
    assert ("--group-add", "997") in found
    assert ("--volume", "/usr/local/Ascend/driver:/usr/local/Ascend/driver:ro") in found
    assert how.baked == {}
    assert how.environment["HOME"] == "/tmp"


def test_a_simulator_brings_its_own_driver_and_no_device_of_the_host() -> None:
    how = of("310P3", simulate=True)
    found = words(how, DAVINCI0="/dev/davinci3")
    assert "/dev/zero:/dev/davinci0" in found
    assert not any("davinci3" in word or "--volume" in word for word in found)


def test_a_gpu_is_asked_for_by_its_number() -> None:
    assert ("--gpus", "device=2") in pairs(words(of("T4"), GPU="2"))
    assert ("--gpus", "device=0") in pairs(words(of("T4")))


def test_a_reason_is_shown_and_never_run(tmp_path: Path) -> None:
    reason = "Pictures $(touch x) `touch y` ' \" \\ 100 % were skipped.\\n"
    facts = {**FACTS, "title": "100 % of X", "labels": [{"name": "forced", "reason": reason}]}
    papers.write(tmp_path, facts, of("cpu"))
    lines = (tmp_path / "install").read_text().splitlines()
    (line,) = [line for line in lines if "'FORCED: " in line]
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == f"FORCED: {reason}\n"
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "y").exists()
    assert shipments.shellcheck(tmp_path / "install") == ""
    assert "Description=100 %% of X on t" in (tmp_path / "x.service").read_text()
