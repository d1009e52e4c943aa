"""The Ascend Dockerfiles are what their template gives, and each names its CANN release."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / "dockerfiles"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_they_are_up_to_date(repository: Path) -> None:
    done = check(repository)
    assert done.returncode == 0, done.stderr
    for image in ("ascend310", "ascend310p"):
        text = (repository / "images" / image / "Dockerfile").read_text(encoding="utf-8")
        assert "ARG CANN_VERSION=5.1.RC2\n" in text
        assert "@" not in text.replace("@sha256", "")


def test_a_change_of_one_alone_is_noticed(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(repository / "scripts" / "dockerfiles", tmp_path / "scripts")
    for image in ("ascend", "ascend310", "ascend310p"):
        (tmp_path / "images" / image).mkdir(parents=True)
        for path in (repository / "images" / image).glob("Dockerfile*"):
            shutil.copy(path, tmp_path / "images" / image)
    shutil.copy(repository / "images/ascend/cann.toml", tmp_path / "images/ascend")
    assert check(tmp_path).returncode == 0
    dockerfile = tmp_path / "images" / "ascend310" / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "USER root\n")
    done = check(tmp_path)
    assert done.returncode == 1
    assert "images/ascend310/Dockerfile" in done.stderr
    assert "ascend310p" not in done.stderr
