"""Variables of the environment that would change what a compose file declares."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import compose

FILES = ["cpu.yaml", "t4.yaml", "export.yaml", "ascend310.yaml", "ascend310p.yaml"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "value", ["/etc:/opt/host:rw", "/model.onnx:/model:rw", "/a/../../etc", "..", "/a\nb", "/a\x1b"]
)
def test_a_variable_adds_no_mount_and_changes_no_mode(file: str, value: str) -> None:
    with pytest.raises(CascadeportError, match="variable MODEL") as caught:
        compose.load(REPOSITORY / "compose" / file, {"MODEL": value})
    assert "MODEL" in caught.value.next


def test_a_variable_adds_no_device() -> None:
    variables = {"DAVINCI0": "/dev/sda:/dev/davinci0:rwm"}
    with pytest.raises(CascadeportError, match="variable DAVINCI0"):
        compose.load(REPOSITORY / "compose" / "ascend310p.yaml", variables)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("user", ["0:0", "0", "00:5", "root", "root:root", "0:1000", "+0:1"])
def test_no_service_runs_as_root(file: str, user: str) -> None:
    with pytest.raises(CascadeportError) as caught:
        compose.load(REPOSITORY / "compose" / file, {"CASCADEPORT_USER": user})
    assert any("never run as root" in detail for detail in caught.value.details)


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: 3}",
        "services: {a: }",
        "services: {a: {image: a, environment: [A=1]}}",
        "services: {a: {image: a, volumes: [/x]}}",
        "services: {a: {image: a, volumes: ['/x:/y:z']}}",
        "services: {a: {image: a, extends: 3}}",
        "services: {a: {image: a, extends: a}}",
        "services: " + "[" * 5000,
        "3",
        "{1: 2}",
    ],
)
def test_files_of_odd_types(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(CascadeportError):
        found = compose.load(path, {})["a"]
        compose.binds(found, tmp_path)
