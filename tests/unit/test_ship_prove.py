"""A shipment that contradicts itself is found; one that its run does not give is explained."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.config.options import Options
from cascadeport.ship import check, manifest, prove, signature, words

from tests.helpers import command, shipments
from tests.helpers.shipments import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return shipments.world(tmp_path_factory)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shipments.key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def packed(world: World, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.pack(tmp_path_factory.mktemp("dist"), key, b"one", b"two" * 1000)


def signed_again(folder: Path, key: Path) -> None:
    """What somebody with the key makes of a shipment that they changed."""
    path = folder / "manifest.json"
    said = json.loads(path.read_text())
    for one in said["files"]:
        content = folder / one["path"]
        one["size"] = content.stat().st_size
        one["sha256"] = sha256(content)
    path.write_text(json.dumps(said))
    names = sorted(check.sums(folder))
    (folder / "SHA256SUMS").write_text(
        "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
    )
    (folder / "SHA256SUMS.sig").unlink()
    signature.sign(folder, key)


def sha256(path: Path) -> str:
    done = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def said(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another image": (
        lambda found: found["image"].update(id="sha256:" + "2" * 64),
        "does not have the image's configuration",
    ),
    "another layer": (
        lambda found: found["image"]["layers"][0].update(digest="sha256:" + "2" * 64),
        "other layers than the manifest says",
    ),
    "a layer too many": (
        lambda found: found["image"]["layers"].append({"digest": "sha256:" + "2" * 64, "size": 1}),
        "lacks layer",
    ),
    "another archive": (
        lambda found: found["archive"].update(sha256="2" * 64),
        "content is not what the manifest says",
    ),
    "a file fewer": (lambda found: found["files"].pop(), "list other files"),
    "a label hidden": (
        lambda found: found.update(version="1"),
        "does not say that it is forced",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_signed_shipment_that_contradicts_itself(
    packed: Path, key: Path, tmp_path: Path, change: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    alter, told = CHANGES[change]
    said(copy, alter)
    signed_again(copy, key)
    with pytest.raises(CascadeportError, match="contradicts itself") as caught:
        check.verify(copy)
    assert told in " ".join(caught.value.details)


def test_an_archive_that_was_cut_off_and_signed(packed: Path, key: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    (part,) = (copy / "image").iterdir()
    part.write_bytes(part.read_bytes()[:-2000])
    signed_again(copy, key)
    with pytest.raises(CascadeportError) as caught:
        check.verify(copy)
    assert "archive" in " ".join(caught.value.details)


def test_the_same_run_differs_in_nothing(
    world: World, packed: Path, key: Path, tmp_path: Path
) -> None:
    again = world.pack(tmp_path / "dist", None, b"one", b"two" * 1000)
    assert prove.differences(packed, again, tmp_path) == []
    # Nobody signed it, and the guide says so.
    assert prove.beside(packed, again) == ["GUIDE.md", "manifest.json"]


def test_what_differs_is_named(
    world: World, packed: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = world.pack(tmp_path / "dist", None, b"one", b"2wo" * 1000, version="1")
    monkeypatch.setenv("PATH", "/nowhere")
    found = prove.differences(packed, again, tmp_path)
    assert found[0].startswith("the image is sha256:")
    assert "/data/1 has other content" in found
    assert not [one for one in found if "/data/0" in one]
    assert "install diffoscope" in found[-1]


def test_diffoscope_explains_where_it_is_installed(
    world: World, packed: Path, tmp_path: Path
) -> None:
    if shutil.which("diffoscope") is None:
        pytest.skip("diffoscope is not installed (apt-get install diffoscope-minimal)")
    again = world.pack(tmp_path / "dist", None, b"one", b"2wo" * 1000, version="1")
    found = prove.differences(packed, again, tmp_path)
    report = Path(found[-1].removeprefix("diffoscope's report: "))
    assert "data/1" in report.read_text()


def test_other_compression_is_not_another_image(world: World, packed: Path, tmp_path: Path) -> None:
    again = world.pack(tmp_path / "dist", None, b"one", b"two" * 1000)
    other = tmp_path / "other"
    shutil.copytree(again, other)
    (part,) = (other / "image").iterdir()
    part.write_bytes(part.read_bytes() + b"\0")
    said(other, lambda found: found["archive"].update(compressor="libzstd 9.9.9"))
    lines = (
        (other / "SHA256SUMS").read_text().replace(sha256(packed / "image" / part.name), "f" * 64)
    )
    (other / "SHA256SUMS").write_text(lines)
    (told,) = prove.differences(packed, other, tmp_path)
    assert "its compression is not" in told
    assert "libzstd 9.9.9 now" in told


def test_a_manifest_says_how_its_run_is_named_and_no_path(packed: Path) -> None:
    run = Options(target="310P3", model="/home/me/card.toml", limit=8, simulate=True)
    named = words.of_run(run)
    assert named == ("--target=310P3", "--limit=8", "--simulate")
    now = Options(model="other", limit=3)
    back = words.options(named, now, {"limit"})
    assert (back.target, back.simulate, back.model, back.limit) == ("310P3", True, "other", 3)
    assert "/" not in " ".join(manifest.load(packed).rebuild)


def ask(*words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "cascadeport", *words],
        env={**os.environ, **command.ENV, "DOCKER_HOST": "unix:///nowhere/docker.sock"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_says_what_it_could_not_prove(packed: Path, key: Path, tmp_path: Path) -> None:
    """The shipment is verified where its run is not; nothing is claimed beyond that."""
    results = ["--results", str(tmp_path / "results")]
    code, said_, told = ask("verify", str(packed), "--key", f"{key}.pub", *results)
    assert code == 0, told
    assert f"signed    by {signature.fingerprint(key)}" in said_
    assert "FORCED    Nobody signed the run." in said_
    assert "proven" not in said_
    assert "not proven the run could not be frozen again" in told

    other = shipments.key(tmp_path)
    code, _, told = ask("verify", str(packed), "--key", f"{other}.pub")
    assert code == 8
    assert "Another key signed the shipment" in told

    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    (copy / "install").write_text("#!/bin/sh\n")
    code, _, told = ask("verify", str(copy))
    assert code == 8
    assert "install was changed" in told
    (copy / "SHA256SUMS").unlink()
    assert ask("verify", str(copy))[0] == 8
