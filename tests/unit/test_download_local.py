"""Files that are on this machine already."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.download import Source, check, download_file

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "wei ghts.pth"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def source(*addresses: str) -> Source:
    return Source("weights", addresses, SHA256, len(CONTENT))


@pytest.mark.parametrize("spelling", ["path", "uri"])
def test_a_local_file_is_linked_not_copied(own: Path, tmp_path: Path, spelling: str) -> None:
    address = str(own) if spelling == "path" else own.as_uri()
    found = download_file(source(address), tmp_path / "out" / "f")
    assert (found.sha256, found.address) == (SHA256, address)
    assert found.path.samefile(own)


def test_a_link_is_followed_to_its_file(own: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(own)
    found = download_file(source(str(tmp_path / "link")), tmp_path / "out" / "f")
    assert found.path.samefile(own)
    assert not found.path.is_symlink()


def test_on_another_disk_it_is_copied(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*paths: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", other_disk)
    found = download_file(source(str(own)), tmp_path / "out" / "f")
    assert found.path.read_bytes() == CONTENT
    assert not found.path.samefile(own)


def test_a_wrong_local_file_is_left_alone_and_the_next_is_tried(own: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"other")
    found = download_file(source(str(wrong), str(own)), tmp_path / "out" / "f")
    assert found.address == str(own)
    assert wrong.read_bytes() == b"other"


def test_every_local_failure_is_reported(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(CONTENT[:-1])
    addresses = [str(wrong), str(tmp_path), str(tmp_path / "absent")]
    with pytest.raises(CascadeportError) as caught:
        download_file(source(*addresses), tmp_path / "out" / "f")
    first, second, third = caught.value.details
    assert "6,999 bytes instead of 7,000" in first
    assert "is not a file" in second
    assert "does not exist" in third
    assert not (tmp_path / "out" / "f").exists()


def test_the_users_own_file_is_checked_where_it_stands(own: Path) -> None:
    found = check(own, source("https://example.org/f"))
    assert (found.path, found.sha256, found.size) == (own, SHA256, len(CONTENT))


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"", "empty"),
    ],
)
def test_what_a_wrong_file_seems_to_be(tmp_path: Path, content: bytes, hint: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(CascadeportError, match=hint):
        check(path, source("https://example.org/f"))
    path.write_bytes(b"x" * len(content or b"x"))
    with pytest.raises(CascadeportError) as caught:
        check(path, source("https://example.org/f"))
    assert hint not in str(caught.value)
