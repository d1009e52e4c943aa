"""What freezing writes is what the program inside a frozen image reads (docs/frozen-image.md)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.ship import contents, golden
from cascadeport.ship.contents import Subject
from cascadeport.ship.labels import Label

from tests.helpers import shipments
from tests.helpers.shipments import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return shipments.world(tmp_path_factory)


@pytest.fixture(scope="module")
def subject(world: World) -> Subject:
    return world.subject()


def program(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The program of a frozen image, here."""
    return subprocess.run(
        [sys.executable, "-m", "bundle.frozen", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_inside_reads_what_is_written(subject: Subject, tmp_path: Path) -> None:
    frozen = tmp_path / "frozen"
    contents.write(subject, None, frozen)
    done = program(frozen, "record", str(frozen))
    assert done.returncode == 0, done.stderr
    first = (frozen / "golden" / "expected.json").read_bytes()
    # As freezing again finds it.
    assert program(frozen, "record", str(frozen)).returncode == 0
    assert (frozen / "golden" / "expected.json").read_bytes() == first
    done = program(frozen, "--frozen", str(frozen), "selftest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FORCED" in done.stderr
    done = program(frozen, "--frozen", str(frozen), "about", "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert about["run"]["date"] == subject.date
    assert about["digests"]["image"] == subject.image


def test_written_twice_it_is_the_same(subject: Subject, tmp_path: Path) -> None:
    for name in ("one", "other"):
        contents.write(subject, None, tmp_path / name)
    names = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*"))
    assert names == sorted(
        p.relative_to(tmp_path / "other") for p in (tmp_path / "other").rglob("*")
    )
    for name in names:
        if (tmp_path / "one" / name).is_file():
            assert (tmp_path / "one" / name).read_bytes() == (
                tmp_path / "other" / name
            ).read_bytes()


def test_golden_pictures_are_the_run_s(subject: Subject, tmp_path: Path) -> None:
    golden.write(subject.infer, subject.dataset, tmp_path / "golden")
    run = json.loads((tmp_path / "golden" / "run.json").read_text())
    detections = json.loads((subject.infer / "detections.json").read_text())
    ids = [one["id"] for one in run["pictures"]]
    assert len(ids) >= 2
    assert run["detections"] == [row for row in detections if row["image_id"] in ids] != []
    for one in run["pictures"]:
        original = subject.dataset.pictures_dir / one["file"]
        assert (tmp_path / "golden" / one["file"]).read_bytes() == original.read_bytes()


def test_one_of_each_kind_is_golden() -> None:
    shapes = {1: (8, 8), 2: (8, 8), 3: (4, 8), 4: (4, 8), 5: (8, 8)}
    assert golden.chosen(shapes, {2, 4, 5}) == [1, 2, 3, 4]
    assert golden.chosen({1: (8, 8), 7: (8, 8), 9: (8, 8)}, {1, 7, 9}) == [1, 7]
    assert golden.chosen({3: (8, 8)}, {3}) == [3]


def test_a_picture_that_has_changed_is_none(world: World, tmp_path: Path) -> None:
    subject = world.subject()
    folder = tmp_path / "pictures"
    shutil.copytree(subject.dataset.pictures_dir, folder)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes() + b"x")

    class Changed:
        pictures_dir = folder

    with pytest.raises(CascadeportError, match="not what it was when the run read it"):
        golden.write(subject.infer, Changed(), tmp_path / "golden")  # type: ignore[arg-type]


def test_a_network_that_was_made_again_is_refused(subject: Subject, tmp_path: Path) -> None:
    (network,) = subject.plan.networks
    content = network.path.read_bytes()
    try:
        network.path.write_bytes(content + b"x")
        with pytest.raises(CascadeportError, match="was made again"):
            contents.write(subject, None, tmp_path / "frozen")
    finally:
        network.path.write_bytes(content)


@pytest.mark.parametrize("version", ["", "a b", "-1", "1/2", "x" * 65, "1\n", "ä"])
def test_versions_that_a_tag_cannot_say(world: World, version: str) -> None:
    with pytest.raises(CascadeportError, match="cannot be that of an image"):
        _ = world.subject(version=version, labels=()).full_version


def test_the_version_says_when_and_what(world: World) -> None:
    subject = world.subject(version=None, labels=())
    assert subject.full_version.startswith(subject.date[:10].replace("-", "."))
    other = world.subject(version=None, labels=(), image="sha256:" + "2" * 64)
    assert other.full_version != subject.full_version
    shouted = world.subject(version="1", labels=(Label("simulated", "A stand-in."),))
    assert shouted.full_version == "1-simulated"


def test_streams_that_were_measured_are_frozen_as_a_number(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image has no time to try; its server answers one request with all threads."""
    subject = world.subject()
    job = {**subject.job, "runner": {**subject.job["runner"], "streams": "auto", "threads": 2}}
    subject.result.run.environment["streams"] = 2
    monkeypatch.setattr(Subject, "job", property(lambda self: job))
    try:
        contents.write(subject, None, tmp_path / "frozen")
    finally:
        del subject.result.run.environment["streams"]
    frozen = json.loads((tmp_path / "frozen" / "frozen.json").read_text())
    assert frozen["job"]["runner"]["streams"] == 2
    assert program(tmp_path / "frozen", "record", str(tmp_path / "frozen")).returncode == 0


def test_a_network_for_several_pictures_is_not_frozen(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"input": {"pictures": 1}}))
    contents.require_single(tmp_path)
    job.write_text(json.dumps({"input": {"pictures": 2}}))
    with pytest.raises(CascadeportError, match="several pictures at once") as caught:
        contents.require_single(tmp_path)
    assert "without BATCH" in caught.value.next
