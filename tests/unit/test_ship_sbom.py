"""The inventory of an image, checked by the validators of both formats."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cascadeport.ship import layers
from cascadeport.ship.layers import Entry
from cascadeport.ship.rootfs import Rootfs
from cascadeport.ship.sbom import cyclonedx, packages, spdx
from cascadeport.ship.sbom.packages import Package
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

DPKG = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u7

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2024a-0+deb12u1
Description: zones
 and a second line
"""
LOCK = f"""\
numpy==2.4.6 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
flatbuffers==25.12.19 \\
    --hash=sha256:{"c" * 64}
    # via onnxruntime
"""
IMAGE = "sha256:" + "1" * 64


def metadata(name: str, version: str, more: str = "") -> Entry:
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\nA text.\nName: no\n"
    return Entry(text.encode())


def found(folder: Path, files: dict[str, Entry]) -> list[Package]:
    lock = folder / "requirements.lock"
    lock.write_text(LOCK)
    layer = layers.written(files, folder / "layer.tar")
    with Rootfs([layer]) as opened:
        return packages.of_image(opened, [lock], "3.11.7")


FILES = {
    "var/lib/dpkg/status": Entry(DPKG.encode()),
    "etc/os-release": Entry(b'ID=debian\nVERSION_ID="12"\n'),
    "opt/packages/numpy-2.4.6.dist-info/METADATA": metadata(
        "numpy", "2.4.6", "License-Expression: BSD-3-Clause AND 0BSD\n"
    ),
    "opt/packages/flatbuffers-25.12.19.dist-info/METADATA": metadata(
        "flatbuffers", "25.12.19", "License: Apache 2.0, see LICENSE\n"
    ),
    "opt/packages/Some_Thing-1.dist-info/METADATA": metadata("Some.Thing", "1"),
}


@pytest.fixture
def inventory(tmp_path: Path) -> list[Package]:
    return found(tmp_path, FILES)


def test_what_is_in_the_image(inventory: list[Package]) -> None:
    names = {(one.kind, one.name, one.version) for one in inventory}
    assert names == {
        ("python", "numpy", "2.4.6"),
        ("python", "flatbuffers", "25.12.19"),
        ("python", "some-thing", "1"),
        ("deb", "libc6", "2.36-9+deb12u7"),
        ("deb", "tzdata", "2024a-0+deb12u1"),
        ("base", "cpython", "3.11.7"),
    }
    by_name = {one.name: one for one in inventory}
    assert by_name["numpy"].sha256 == ("a" * 64, "b" * 64)
    assert by_name["numpy"].licence == "BSD-3-Clause AND 0BSD"
    assert by_name["flatbuffers"].licence == ""
    assert "Apache 2.0, see LICENSE" in by_name["flatbuffers"].remark
    assert by_name["libc6"].purl == (
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u7?arch=amd64&distro=debian-12"
    )


def test_a_base_without_a_database_says_so(tmp_path: Path) -> None:
    (base,) = [one for one in found(tmp_path, {}) if one.name == "base-image"]
    assert "no dpkg database" in base.remark


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this system has no dpkg")
def test_a_real_package_database(tmp_path: Path) -> None:
    """This machine's own, as the base of an image would have it, against dpkg's own reading."""
    names = ("var/lib/dpkg/status", "etc/os-release")
    inventory = found(tmp_path, {name: Entry((Path("/") / name).read_bytes()) for name in names})
    form = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={form}"], capture_output=True, text=True, check=True
    )
    wanted = {
        tuple(words[1:])
        for words in map(str.split, listed.stdout.splitlines())
        if words[0] == "installed"
    }
    debs = [one for one in inventory if one.kind == "deb"]
    arch = re.compile(r"arch=([^&]+)")
    assert {(one.name, one.version, arch.search(one.purl)[1]) for one in debs} == wanted
    assert len(debs) == len(wanted) > 50
    written = cyclonedx.document("cascadeport/x:1", IMAGE, "2026-11-29T08:55:01Z", inventory)
    assert problems(written) is None
    path = tmp_path / "real.spdx.json"
    path.write_text(
        json.dumps(spdx.document("cascadeport/x:1", IMAGE, "2026-11-29T08:55:01Z", inventory))
    )
    assert validate_full_spdx_document(parse_file(str(path))) == []


def whole(inventory: list[Package]) -> list[Package]:
    return [Package("network", "network.onnx", sha256=("d" * 64,)), *inventory]


def test_spdx_is_valid(inventory: list[Package], tmp_path: Path) -> None:
    written = spdx.document("cascadeport/x-cpu:1", IMAGE, "2026-11-29T08:55:01Z", whole(inventory))
    path = tmp_path / "x.spdx.json"
    path.write_text(json.dumps(written))
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    assert len(document.packages) == len(inventory) + 2


def problems(value: dict[str, Any]) -> Any:
    return JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(value))


def test_cyclonedx_is_valid(inventory: list[Package]) -> None:
    written = cyclonedx.document("cascadeport/x:1", IMAGE, "2026-11-29T08:55:01Z", whole(inventory))
    assert problems(written) is None
    assert problems({**written, "components": [{"name": "no type"}]}) is not None


def test_the_same_image_has_the_same_inventory(tmp_path: Path) -> None:
    both = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        arguments = ("x:1", IMAGE, "2026-11-29T08:55:01Z", found(folder, FILES))
        both.append((spdx.document(*arguments), cyclonedx.document(*arguments)))
    assert both[0] == both[1]
