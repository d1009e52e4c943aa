"""`cascadeport doctor --fix` fills a wheelhouse: real pip, a folder in the place of an index."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import pytest
from cascadeport import doctor
from cascadeport.base.errors import CascadeportError
from cascadeport.containers import wheels
from cascadeport.core.check import Check
from cascadeport.core.context import Context
from cascadeport.doctor import containers

from tests.helpers.contexts import context

NAME = "small_package-1.0-py3-none-any.whl"
(CHECK,) = (check for check in containers.CHECKS if check.name == "wheelhouse")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, which is all that pip knows and all that the image's lock names."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "small_package-1.0.dist-info"
    with zipfile.ZipFile(folder / NAME, "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: small-package\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    lock = tmp_path / "requirements.lock"
    sha256 = hashlib.sha256((folder / NAME).read_bytes()).hexdigest()
    lock.write_text(f"small-package==1.0 \\\n    --hash=sha256:{sha256}\n")
    monkeypatch.setattr(wheels, "locks", lambda image: [lock])
    monkeypatch.setattr(wheels, "REPOSITORY", tmp_path)
    monkeypatch.setattr(doctor, "_every", only_the_wheelhouse)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def only_the_wheelhouse(context: Context) -> list[tuple[str, tuple[Check, ...]]]:
    return [("containers", (CHECK,))]


def opened(house: Path) -> Context:
    return dataclasses.replace(context("cpu", engine="docker"), variables={"WHEELS": str(house)})


def test_a_wheelhouse_is_filled_and_then_left_alone(index: Path, tmp_path: Path) -> None:
    where = opened(tmp_path / "house")
    assert CHECK.run(where).status == "fail"
    folder = tmp_path / "house" / "cpu"
    said = [f"wheelhouse: downloaded the packages of the lock to {folder}"]
    assert list(doctor.repair(where)) == said
    assert (folder / NAME).read_bytes() == (index / NAME).read_bytes()
    assert CHECK.run(where).status == "ok"
    assert list(doctor.repair(where)) == []


def test_another_file_of_that_name_is_not_taken(index: Path, tmp_path: Path) -> None:
    """The lock's hash decides, not the name."""
    with zipfile.ZipFile(index / NAME, "a") as wheel:
        wheel.writestr("small_package.py", "print('other')")
    where = opened(tmp_path / "house")
    with pytest.raises(CascadeportError, match="could not be downloaded") as caught:
        list(doctor.repair(where))
    assert "hash" in str(caught.value.where).lower() or "Got" in str(caught.value.where)
    assert CHECK.run(where).status == "fail"
    assert list((tmp_path / "house" / "cpu").iterdir()) == []


def test_where_no_index_answers_it_says_so(index: Path, tmp_path: Path) -> None:
    (index / NAME).unlink()
    with pytest.raises(CascadeportError, match="could not be downloaded") as caught:
        list(doctor.repair(opened(tmp_path / "house")))
    assert "small-package" in str(caught.value.where)
    assert "package index" in caught.value.next
