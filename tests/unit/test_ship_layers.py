"""Layers in canonical form, the files of an image, its archive, and its parts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cascadeport.base.errors import CascadeportError
from cascadeport.ship import image, layers, parts, saved
from cascadeport.ship.layers import Entry
from cascadeport.ship.rootfs import Rootfs
from hypothesis import given, settings
from hypothesis import strategies as st


def member(name: str, **facts: Any) -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(one, key, value)
    return one


Files = list[tuple[tarfile.TarInfo, bytes]]


def archive(files: Files) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for one, content in files:
            one.size = len(content)
            tar.addfile(one, io.BytesIO(content) if one.isreg() else None)
    out.seek(0)
    return out


def files(clock: int) -> Files:
    """A layer as a builder writes it at a time."""
    return [
        (member("usr", type=tarfile.DIRTYPE, mode=0o755, mtime=clock), b""),
        (member("usr/a", mode=0o4755, uid=3, gid=4, uname="x", mtime=clock + 0.5), b"one"),
        (member("usr/link", type=tarfile.SYMTYPE, linkname="a", mtime=clock), b""),
        (member("usr/.wh.gone", mode=0, mtime=clock), b""),
        (
            member(
                "usr/ping",
                mode=0o755,
                mtime=clock,
                pax_headers={"SCHILY.xattr.security.capability": "x", "atime": str(clock)},
            ),
            b"two",
        ),
        (member("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mtime=clock), b""),
    ]


def test_when_and_in_which_order_a_builder_wrote_does_not_matter(tmp_path: Path) -> None:
    one = layers.canonical(archive(files(1_600_000_000)), tmp_path / "one.tar")
    shuffled = files(1_700_000_000)
    random.Random(3).shuffle(shuffled)
    for entry, _ in shuffled:
        entry.name = f"./{entry.name}"
    other = layers.canonical(archive(shuffled), tmp_path / "other.tar")
    assert one.digest == other.digest
    assert one.path.read_bytes() == other.path.read_bytes()
    assert one.digest == f"sha256:{hashlib.sha256(one.path.read_bytes()).hexdigest()}"
    assert one.size == one.path.stat().st_size


def test_what_a_container_sees_is_kept(tmp_path: Path) -> None:
    layers.canonical(archive(files(1_600_000_000)), tmp_path / "one.tar")
    with tarfile.open(tmp_path / "one.tar") as tar:
        found = {one.name: one for one in tar}
        assert tar.extractfile("usr/a").read() == b"one"  # type: ignore[union-attr]
    assert {one.mtime for one in found.values()} == {layers.EPOCH}
    a = found["usr/a"]
    assert (a.mode, a.uid, a.gid, a.uname) == (0o4755, 3, 4, "")
    assert found["usr/link"].linkname == "a"
    assert (found["dev/null"].devmajor, found["dev/null"].devminor) == (1, 3)
    headers = found["usr/ping"].pax_headers
    assert headers == {"SCHILY.xattr.security.capability": "x"}


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found[1][0].__setattr__("mode", 0o755),
        lambda found: found[1][0].__setattr__("uid", 5),
        lambda found: found[2][0].__setattr__("linkname", "b"),
        lambda found: found.__setitem__(1, (found[1][0], b"One")),
        lambda found: found[4][0].pax_headers.clear(),
        lambda found: found[5][0].__setattr__("devminor", 5),
        lambda found: found.pop(3),
    ],
)
def test_whatever_a_container_sees_changes_the_digest(tmp_path: Path, change: Any) -> None:
    changed = files(1_600_000_000)
    change(changed)
    one = layers.canonical(archive(files(1_600_000_000)), tmp_path / "one.tar")
    assert layers.canonical(archive(changed), tmp_path / "two.tar").digest != one.digest


def test_hard_links_follow_what_they_name_whichever_of_them_was_first(tmp_path: Path) -> None:
    def linked(first: str, *others: str) -> Files:
        links = [(member(one, type=tarfile.LNKTYPE, linkname=first), b"") for one in others]
        return [(member(first, mode=0o644), b"content"), *links]

    one = layers.canonical(archive(linked("b", "c", "a")), tmp_path / "one.tar")
    other = layers.canonical(archive(linked("c", "a", "b")), tmp_path / "other.tar")
    assert one.digest == other.digest
    with tarfile.open(one.path) as tar:
        names = [(entry.name, entry.islnk(), entry.linkname) for entry in tar]
    assert names == [("a", False, ""), ("b", True, "a"), ("c", True, "a")]


def test_of_a_name_that_is_there_twice_the_later_counts(tmp_path: Path) -> None:
    twice = archive([(member("a"), b"old"), (member("a"), b"new")])
    layers.canonical(twice, tmp_path / "one.tar")
    with tarfile.open(tmp_path / "one.tar") as tar:
        (only,) = tar.getmembers()
        assert tar.extractfile(only).read() == b"new"  # type: ignore[union-attr]


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-zé.]{1,5}(/[a-z]{1,120}){0,2}", fullmatch=True), st.binary(max_size=40)
    )
)
def test_canonical_is_a_fixed_point(tmp_path_factory: Any, content: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("layers")
    once = layers.canonical(
        archive([(member(name), one) for name, one in content.items()]), folder / "once.tar"
    )
    with once.path.open("rb") as file:
        assert layers.canonical(file, folder / "twice.tar").digest == once.digest


def layer(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> layers.Layer:
    return layers.canonical(archive(list(entries)), path)


def test_an_image_is_its_layers_one_on_the_other(tmp_path: Path) -> None:
    below = layer(
        tmp_path / "0.tar",
        (member("etc/a"), b"a"),
        (member("etc/b"), b"b"),
        (member("opt/x/one"), b"1"),
        (member("bin", type=tarfile.SYMTYPE, linkname="usr/bin"), b""),
        (member("usr/bin/dash", mode=0o755), b"#!"),
        (member("usr/bin/sh", type=tarfile.SYMTYPE, linkname="dash", mode=0o777), b""),
        (member("usr/bin/python3", mode=0o755), b"py"),
        (member("usr/share/sh", mode=0o644), b"a document"),
    )
    above = layer(
        tmp_path / "1.tar",
        (member("etc/.wh.a"), b""),
        (member("opt/x/.wh..wh..opq"), b""),
        (member("opt/x/two"), b"2"),
        (member("etc/c", type=tarfile.SYMTYPE, linkname="../etc/b"), b""),
    )
    with Rootfs([below, above]) as found:
        assert found.read("etc/a") is None
        assert found.read("etc/c") == b"b"
        assert found.read("bin/python3") == b"py"
        assert found.read("opt/x/one") is None
        assert found.read("opt/x/two") == b"2"
        assert found.shells() == ["usr/bin/dash", "usr/bin/sh"]
        gone = found.shells()
    own = layers.written({"opt/y": Entry(b"y", 0o600)}, tmp_path / "2.tar", gone)
    with Rootfs([below, above, own]) as found:
        assert found.shells() == []
        assert found.read("bin/sh") is None
        assert found.read("opt/y") == b"y"


def save(folder: Path, contents: list[bytes], packed: Any = None) -> Path:
    """What `docker save` writes."""
    packed = packed or (lambda content: content)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}}).encode()
    names = [f"{n}/layer.tar" for n in range(len(contents))]
    entry = [{"Config": "config.json", "RepoTags": None, "Layers": names}]
    found = [
        (member("manifest.json"), json.dumps(entry).encode()),
        (member("config.json"), config),
        *((member(name), packed(one)) for name, one in zip(names, contents, strict=True)),
    ]
    path = folder / "saved.tar"
    path.write_bytes(archive(found).getvalue())
    return path


@pytest.mark.parametrize(
    "packed", [None, gzip.compress, zstandard.ZstdCompressor().compress], ids=("plain", "gz", "zst")
)
def test_however_an_engine_keeps_layers_they_are_the_same(tmp_path: Path, packed: Any) -> None:
    path = save(tmp_path, [archive(files(7)).getvalue()], packed)
    found = saved.read(path, tmp_path)
    (only,) = found.layers
    assert only.digest == layers.canonical(archive(files(9)), tmp_path / "x.tar").digest


@pytest.mark.parametrize("cut", [10, 700, 5000])
def test_a_damaged_save_is_an_error(tmp_path: Path, cut: int) -> None:
    path = save(tmp_path, [archive(files(7)).getvalue()])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CascadeportError, match="cannot be read"):
        saved.read(path, tmp_path)


def made(folder: Path) -> image.Image:
    base = layers.written({"a": Entry(b"a" * 5000)}, folder / "a.tar")
    own = layers.written({"b": Entry(random.Random(1).randbytes(3_000_000))}, folder / "b.tar")
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"], "Cmd": ["x"]}}
    return image.frozen("cascadeport/x:1", config, (base, own), {"Cmd": ["about"]})


def written(one: image.Image, *without: str) -> bytes:
    out = io.BytesIO()
    one.write(out, without)
    return out.getvalue()


def test_an_archive_has_both_tables_of_contents(tmp_path: Path) -> None:
    one = made(tmp_path)
    assert written(one) == written(made(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(written(one))) as tar:
        blobs = {
            entry.name: tar.extractfile(entry).read()  # type: ignore[union-attr]
            for entry in tar
            if entry.isfile()
        }
    for name, content in blobs.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    (docker,) = json.loads(blobs["manifest.json"])
    (entry,) = json.loads(blobs["index.json"])["manifests"]
    assert docker["Config"] == f"blobs/sha256/{one.id.removeprefix('sha256:')}"
    assert entry["digest"] == one.manifest_digest
    manifest = json.loads(blobs[f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}"])
    assert manifest["config"]["digest"] == one.id
    named = [f"blobs/{layer['digest'].replace(':', '/')}" for layer in manifest["layers"]]
    assert named == docker["Layers"]
    config = json.loads(blobs[docker["Config"]])
    assert config["config"] == {"Env": ["A=1"], "Cmd": ["about"]}
    for name, digest in zip(named, config["rootfs"]["diff_ids"], strict=True):
        assert f"sha256:{hashlib.sha256(blobs[name]).hexdigest()}" == digest


def test_layers_that_the_receiver_has_are_left_out(tmp_path: Path) -> None:
    one = made(tmp_path)
    known = one.layers[1].digest
    with tarfile.open(fileobj=io.BytesIO(written(one, known))) as tar:
        names = tar.getnames()
    assert f"blobs/{one.layers[0].digest.replace(':', '/')}" in names
    assert f"blobs/{known.replace(':', '/')}" not in names


@pytest.mark.parametrize("how", ["zstd", "gzip"])
@pytest.mark.parametrize(("size", "count"), [(None, 1), (1_000_000, 4), (3_000_000, 2)])
def test_parts_join_to_what_was_written(
    tmp_path: Path, how: Any, size: int | None, count: int
) -> None:
    content = written(made(tmp_path))
    for name in ("one", "other"):
        out = parts.Parts(tmp_path / name, size)
        with parts.compressing(out, how) as packed:
            packed.write(content)
        out.close()
    paths = sorted(tmp_path.glob("one.0*"))
    assert len(paths) == count
    assert all(path.stat().st_size <= (size or 1 << 30) for path in paths)
    assert [path.read_bytes() for path in paths] == [
        path.read_bytes() for path in sorted(tmp_path.glob("other.0*"))
    ]
    with parts.joined(paths, how) as plain:
        assert plain.read() == content


def test_a_file_in_the_place_of_a_folder_removes_what_was_in_it(tmp_path: Path) -> None:
    below = layer(
        tmp_path / "0.tar",
        (member("etc/x", type=tarfile.DIRTYPE, mode=0o755), b""),
        (member("etc/x/one"), b"1"),
        (member("etc/xy"), b"stays"),
        (member("opt/d", type=tarfile.DIRTYPE, mode=0o755), b""),
        (member("opt/d/two"), b"2"),
    )
    above = layer(tmp_path / "1.tar", (member("etc/x"), b"a file"), (member("opt/.wh.d"), b""))
    with Rootfs([below, above]) as found:
        assert list(found) == ["etc/x", "etc/xy"]
        assert found.read("etc/x") == b"a file"
