"""A backend's own environment is created wherever the checkout is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cascadeport.core import environment


@pytest.mark.parametrize("name", ["plain", "a b:c'd$e"])
def test_it_works_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name / ".venv-own"
    folder.mkdir(parents=True)
    (folder / "left over").touch()
    # pip is Python's own affair, and takes seconds.
    monkeypatch.setattr(environment.venv.EnvBuilder, "_setup_pip", lambda self, context: None)
    environment._create(folder)
    said = subprocess.run(
        [str(folder / "bin" / "python"), "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == str(folder)
    assert not (folder / "left over").exists()
