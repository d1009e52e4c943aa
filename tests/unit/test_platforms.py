"""The architecture of containers: this machine's, its host's, or the one of --platform."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from cascadeport import backends
from cascadeport.backends.ascend import host, releases
from cascadeport.base import architecture
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import COMPOSE
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import open_context
from cascadeport.config import compose, targets
from cascadeport.config.hosts import Host
from cascadeport.config.options import Options
from cascadeport.containers import images
from cascadeport.core.machine import Machine


def machine(folder: Path, answer: str) -> Machine:
    """A machine that ssh reaches."""
    program = folder / "ssh"
    program.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    program.chmod(0o755)
    return Machine(Host(host="ssh://me@server"), f"{folder}:/usr/bin:/bin")


def test_a_remote_host_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert machine(tmp_path, "Welcome\\naarch64\\n").architecture == "aarch64"
    # Where the answer cannot be understood, files are named for this machine, and looked for.
    assert machine(tmp_path, "riddle").architecture == architecture.of_platform(None)
    assert Machine(Host()).architecture == architecture.of_platform(None)


def test_the_vendor_s_packages_are_named_for_the_containers(tmp_path: Path) -> None:
    for wanted in ("x86_64", "aarch64"):
        variables = {"CANN": str(tmp_path), architecture.VARIABLE: wanted}
        missing = " ".join(host.missing_packages(variables, releases.default()))
        assert f"Ascend-cann-toolkit_5.1.RC2_linux-{wanted}.run" in missing
        assert f"linux_{wanted}.whl" in missing


def test_the_image_is_built_for_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text(
        "#!/bin/sh\n"
        'case "$1" in --version) echo "Docker version 20.10.0"; exit 0;; esac\n'
        f'echo "$@" > {tmp_path}/argv\n'
        "echo 'exec /bin/sh: exec format error'\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    plain = images.Recipe("name", tmp_path, "Dockerfile", None, {})
    arm = images.Recipe("name", tmp_path, "Dockerfile", None, {}, platform="linux/arm64")
    assert plain.digest != arm.digest
    with pytest.raises(CascadeportError, match="cannot run programs of the platform"):
        images.build(arm, [], {}, tmp_path / "log", lambda event: None)
    assert "--platform linux/arm64" in (tmp_path / "argv").read_text()


def test_a_stand_in_of_another_architecture_is_refused() -> None:
    rows = targets.load(Options().targets, backends.row)
    backend = backends.of(rows["310P3"])
    own = platform.machine()
    other = "linux/amd64" if own == "aarch64" else "linux/arm64"
    environ = {architecture.VARIABLE: architecture.of_platform(other)}
    service = compose.load(COMPOSE / "ascend310p.yaml", {})["convert"]
    options = Options(target="310P3", simulate=True, platform=other)
    with pytest.raises(CascadeportError, match="stand-in"):
        backend.prepare(options, service, environ)


def test_a_platform_means_nothing_without_containers() -> None:
    with pytest.raises(CascadeportError, match="without one") as caught:
        open_context(Options(target="cpu", platform="linux/arm64"), Reporter())
    assert "--engine docker" in caught.value.next
