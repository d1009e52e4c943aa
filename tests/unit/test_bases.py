"""The lock of base images: what it pins, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.containers import bases

DIGEST = "sha256:" + "a" * 64


def test_every_dockerfile_s_bases_are_known() -> None:
    """A base that is named without an argument could be pinned by nobody."""
    for file in bases.IMAGES.glob("*/Dockerfile"):
        text = file.read_text(encoding="utf-8")
        lines = [line.split() for line in text.splitlines() if line.startswith("FROM ")]
        stages = {line[3] for line in lines if "AS" in line}
        for line in lines:
            name = line[1].removeprefix("${").removesuffix("}")
            # An argument may choose between stages instead of bases.
            if name not in stages and bases.arguments(text).get(name) not in stages:
                assert ":" in bases.defaults(text)[name], f"{file}: {line}"


def test_only_what_the_lock_knows_is_pinned() -> None:
    text = "ARG BASE_IMAGE=python:3.11\nARG BUILD_IMAGE=gcc:12\nARG IMAGE=ascend310\nFROM x\n"
    assert bases.pinned(text, {"python:3.11": DIGEST}) == {"BASE_IMAGE": f"python:3.11@{DIGEST}"}
    assert bases.pinned(text, {}) == {}


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bases.lock"
    path.write_text(f"python:3.11 {DIGEST}\npython:3.12 latest\n")
    with pytest.raises(CascadeportError, match="a line that cannot be read") as caught:
        bases.read(path)
    assert "line 2" in caught.value.where
    path.write_text(f"python:3.11 {DIGEST}\n")
    assert bases.read(path) == {"python:3.11": DIGEST}
    assert bases.read(tmp_path / "absent") == {}
