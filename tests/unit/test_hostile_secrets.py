"""The password of a package index: not on a command line, not in a log, not in an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.containers import images

SECRET = "s3cret"
INDEX = f"https://me:{SECRET}@index.example.org/simple"

DOCKER = """\
#!/bin/sh
case "$1" in --version) echo "Docker version 20.10.0"; exit 0;; esac
echo "$@" > {folder}/argv
echo "$PIP_INDEX_URL" > {folder}/environment
echo "Looking in indexes: $PIP_INDEX_URL"
echo "ERROR: Could not find a version at $PIP_INDEX_URL"
exit {code}
"""


def test_it_reaches_the_build_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text(DOCKER.format(folder=tmp_path, code=1))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    recipe = images.Recipe("name", tmp_path, "Dockerfile", None, {"PIP_INDEX_URL": INDEX})
    log = tmp_path / "build.log"
    with pytest.raises(CascadeportError) as caught:
        images.build(recipe, [], {}, log, lambda event: None)
    assert (tmp_path / "environment").read_text().strip() == INDEX
    argv = (tmp_path / "argv").read_text()
    assert "--build-arg PIP_INDEX_URL" in argv
    assert SECRET not in argv
    assert "me:***@index.example.org" in log.read_text()
    assert SECRET not in log.read_text()
    assert SECRET not in str(caught.value)
    assert SECRET not in caught.value.where
