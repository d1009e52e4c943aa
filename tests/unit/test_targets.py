"""Rows of targets.toml: whatever is missing or meaningless is an error with its location."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import PACKAGE, REPOSITORY
from cascadeport.config import targets
from cascadeport.config.targets import Target

ROWS = (REPOSITORY / "targets.toml").read_text(encoding="utf-8")


def load(folder: Path, text: str) -> dict[str, Target]:
    path = folder / "targets.toml"
    path.write_text(text, encoding="utf-8")
    return targets.load(path, backends.row)


def details(folder: Path, text: str) -> list[str]:
    with pytest.raises(CascadeportError) as caught:
        load(folder, text)
    assert caught.value.where == str(folder / "targets.toml")
    return caught.value.details


def test_our_own_rows_are_of_their_backends_schemas() -> None:
    for row in targets.load(REPOSITORY / "targets.toml", backends.row).values():
        assert type(row) is backends.row(row.backend)
        assert (REPOSITORY / "images" / row.image / "Dockerfile").is_file()
        assert (REPOSITORY / "compose" / row.compose).is_file()


@pytest.mark.parametrize(
    ("pattern", "replacement", "expected"),
    [
        (r'soc = "Ascend310P3"\n', "", "310P3.soc: missing"),
        (r'soc = "Ascend310P3"', 'soc = "310P3"', "310P3.soc: string should match pattern"),
        (r"devices = \[0, 1, 2, 3\]", "devices = [0, 0]", "310.devices: a chip is named twice"),
        (r"devices = \[0, 1, 2, 3\]", "devices = []", "310.devices: a card has at least one chip"),
        (r"devices = \[0, 1, 2, 3\]", "devices = [-1]", "310.devices[0]: "),
        (r"devices = \[0, 1, 2, 3\]", 'devices = "all"', "310.devices: "),
        (r"devices = \[0, 1, 2, 3\]", "device = [0]", "310.device: unknown key; perhaps you meant"),
        (r'backend = "onnxruntime"', 'backend = "onnxruntine"', "perhaps you meant 'onnxruntime'"),
        (r'backend = "ascend"\n', "", "backend: missing"),
        (r'provider = "CUDA\w+"', 'provider = "Tensorrt"', "T4.provider: "),
        (r'engine = "docker"', 'engine = "podman"', ".engine: "),
        (r'title = "Ascend 310P3"', 'title = ""', "310P3.title: "),
    ],
)
def test_a_row_that_makes_no_sense(
    tmp_path: Path, pattern: str, replacement: str, expected: str
) -> None:
    text, count = re.subn(pattern, replacement, ROWS, count=1)
    assert count == 1
    assert any(expected in detail for detail in details(tmp_path, text))


def test_all_rows_are_checked_at_once(tmp_path: Path) -> None:
    text = ROWS.replace('soc = "Ascend310P3"\n', "").replace('device = "CPU"', 'device = "cpu"')
    assert len(details(tmp_path, text)) == 2


def test_a_key_of_another_backend_is_unknown(tmp_path: Path) -> None:
    text = ROWS.replace("[cpu]\n", '[cpu]\nsoc = "Ascend310"\n')
    assert any(detail.startswith("cpu.soc: unknown key") for detail in details(tmp_path, text))


def test_nobody_outside_asks_for_the_name_of_a_backend() -> None:
    """Names of backends, runners and providers are compared only in the backends' own folders."""
    names = r"ascend|onnxruntime|openvino|aclruntime|CPUExecutionProvider|CUDAExecutionProvider"
    compared = re.compile(
        rf"""(==|!=|\bin\b)\s*\(?["']({names})["']|["']({names})["']\s*(==|!=|in\b)"""
    )
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[:1] != ("backends",) or path.parent.name == "backends"
        for line in path.read_text(encoding="utf-8").splitlines()
        if compared.search(line)
    ]
    assert found == []
