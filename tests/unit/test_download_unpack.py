"""Archives that are damaged, that lie, and that want to write where they must not."""

from __future__ import annotations

import io
import random
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.download import Limits, Packed, unpack

Entry = tuple[str, bytes]
FILES: list[Entry] = [("a/one.txt", b"one"), ("a/b/two.txt", b"two" * 1000), ("three", b"")]


def zipped(path: Path, entries: list[Entry] = FILES, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def tarred(path: Path, entries: list[Entry] = FILES, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def refused(archive: Path, out: Path, **options: object) -> CascadeportError:
    """The error of an unpacking that must fail and leave nothing behind."""
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(CascadeportError) as caught:
        unpack([Packed(archive)], out, **options)  # type: ignore[arg-type]
    assert sorted(out.parent.rglob("*")) == before
    return caught.value


def test_a_file_whose_name_ends_like_a_folders(tmp_path: Path) -> None:
    made = tarred(tmp_path / "x", [("b/", b"content")])
    unpack([Packed(made)], tmp_path / "out")
    assert files(tmp_path / "out") == {"b": b"content"}


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_whole_archives(tmp_path: Path, mode: str) -> None:
    made = zipped(tmp_path / "x") if mode == "zip" else tarred(tmp_path / "x", mode=mode)
    reported: list[tuple[int, int, str]] = []
    unpack([Packed(made)], tmp_path / "out", progress=lambda *step: reported.append(step))
    assert files(tmp_path / "out") == dict(FILES)
    assert reported[-1] == (3003, 3003, "unpack")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x"]


def test_folders_are_readable_by_others_as_any_other(tmp_path: Path) -> None:
    unpack([Packed(zipped(tmp_path / "x.zip"))], tmp_path / "out")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_only_what_is_wanted(tmp_path: Path) -> None:
    archive = tarred(
        tmp_path / "x.tgz", [("./a/one.txt", b"1"), ("a/two.jpg", b"2"), ("b/../c", b"")]
    )
    unpack([Packed(archive, ("a/*.txt",))], tmp_path / "out")
    assert files(tmp_path / "out") == {"a/one.txt": b"1"}


def test_a_pattern_that_matches_nothing(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip")
    with pytest.raises(CascadeportError, match="refused") as caught:
        unpack([Packed(archive, ("a/*", "val2017/*"))], tmp_path / "out")
    assert caught.value.details == ["nothing in it is named 'val2017/*'"]


def test_several_archives_appear_together(tmp_path: Path) -> None:
    first = zipped(tmp_path / "1.zip", [("a/1", b"1")])
    second = tarred(tmp_path / "2.tgz", [("a/2", b"2")])
    (tmp_path / "out").mkdir()
    unpack([Packed(first), Packed(second)], tmp_path / "out")
    assert files(tmp_path / "out") == {"a/1": b"1", "a/2": b"2"}


def test_two_archives_with_the_same_file(tmp_path: Path) -> None:
    first = zipped(tmp_path / "1.zip", [("a/1", b"1")])
    second = zipped(tmp_path / "2.zip", [("./a/1", b"2")])
    with pytest.raises(CascadeportError, match="Two archives hold 'a/1'"):
        unpack([Packed(first), Packed(second)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_names_the_right_archive(tmp_path: Path) -> None:
    first = tarred(tmp_path / "1.tgz", [("a/1", random.Random(1).randbytes(100_000))])
    first.write_bytes(first.read_bytes()[:60_000])
    second = zipped(tmp_path / "2.zip")
    with pytest.raises(CascadeportError, match="damaged") as caught:
        unpack([Packed(first), Packed(second)], tmp_path / "out")
    assert caught.value.where == str(first)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.tgz", "2.zip"]


def test_a_folder_with_files_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    assert "not empty" in refused(zipped(tmp_path / "x.zip"), tmp_path / "out").what


ESCAPES = {
    "../evil": "leads out of the folder",
    "a/../../evil": "leads out of the folder",
    "/evil": "is an absolute path",
    "a\\..\\evil": "has a backslash in its name",
    "a\nb": "has a control character in its name",
    "n" * 256: "has a name that is too long",
    "/".join(["n" * 200] * 6): "has a name that is too long",
}


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_must_not_be_written(tmp_path: Path, make: object, name: str) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    archive = make(folder / "x", [("good", b"1"), (name, b"2")])  # type: ignore[operator]
    error = refused(archive, folder / "out")
    assert [problem.endswith(ESCAPES[name]) for problem in error.details] == [True]
    assert not (tmp_path / "evil").exists()


def test_a_zero_byte_in_a_zip_name_does_not_hide_the_rest(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", [("a_b.jpg", b"1")])
    archive.write_bytes(archive.read_bytes().replace(b"a_b.jpg", b"a\0b.jpg"))
    assert "control character" in str(refused(archive, tmp_path / "out"))


def test_problems_are_listed_up_to_twenty(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", [(f"../{index}", b"") for index in range(23)])
    problems = refused(archive, tmp_path / "out").details
    assert len(problems) == 21
    assert problems[-1] == "... and 3 more"


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is not a file"),
        (tarfile.FIFOTYPE, "is not a file"),
    ],
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes, problem: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("entry")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert refused(tmp_path / "x.tar", tmp_path / "out").details == [f"'entry' {problem}"]


@pytest.mark.parametrize(
    ("kind", "problem"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is not a file")]
)
def test_links_and_devices_in_a_zip(tmp_path: Path, kind: int, problem: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("entry")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert refused(tmp_path / "x.zip", tmp_path / "out").details == [f"'entry' {problem}"]


def test_an_encrypted_zip(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", [("a", b"1")])
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    assert refused(archive, tmp_path / "out").details == ["'a' is encrypted"]


def test_an_unknown_method(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", [("a", b"1")])
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 10] = 97
    archive.write_bytes(data)
    assert "cannot be read (97)" in str(refused(archive, tmp_path / "out"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_come_twice_and_files_that_are_folders(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", [("a", b"1"), ("./a", b"2"), ("c", b""), ("c/d", b"")])
    assert refused(archive, tmp_path / "out").details == [
        "'./a' comes twice",
        "'c' is a file and a folder",
    ]


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(bytes=3002), "unpacks to more than"),
        (Limits(files=2), "more than 2 files"),
    ],
)
def test_limits(tmp_path: Path, make: object, limits: Limits, problem: str) -> None:
    archive = make(tmp_path / "x")  # type: ignore[operator]
    assert problem in refused(archive, tmp_path / "out", limits=limits).what
    unpack([Packed(archive)], tmp_path / "out", limits=Limits(bytes=3003, files=3))


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_bomb(tmp_path: Path, make: object) -> None:
    archive = make(tmp_path / "x", [("zeros", bytes(65 << 20))])  # type: ignore[operator]
    assert "200 times its size" in refused(archive, tmp_path / "out").what
    # What is not wanted counts as well: a compressed tar is unpacked to be listed.
    with pytest.raises(CascadeportError, match="200 times"):
        unpack([Packed(archive, ("other",))], tmp_path / "out")


def test_a_tar_bomb_is_refused_at_its_first_header(tmp_path: Path) -> None:
    # The header alone announces 1 TB; not a byte of it exists.
    info = tarfile.TarInfo("huge")
    info.size = 10**12
    (tmp_path / "x.tar").write_bytes(info.tobuf() + bytes(10240))
    assert "unpacks to more than" in refused(tmp_path / "x.tar", tmp_path / "out").what


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", [("a", b"x" * 5000)])
    data = bytearray(archive.read_bytes())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(mark) + place
        data[start : start + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(data)
    assert "damaged" in refused(archive, tmp_path / "out").what


def test_flipped_bytes(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", [("a", b"x" * 5000)], zipfile.ZIP_STORED)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"xxxx", b"xxxy", 1))
    assert "damaged" in refused(archive, tmp_path / "out").what


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x05\x06", b"\x1f\x8b\x08"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert "neither zip nor tar" in refused(tmp_path / "x", tmp_path / "out").what


@pytest.mark.parametrize("make", [zipped, tarred])
def test_random_damage_never_ends_in_another_error(tmp_path: Path, make: object) -> None:
    entries = [("a/one", random.Random(1).randbytes(300)), ("a/two", b"x" * 2000)]
    whole = make(tmp_path / "x", entries).read_bytes()  # type: ignore[operator]
    draw = random.Random(2)
    damaged = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        (tmp_path / "x").write_bytes(data[: draw.choice([len(data), draw.randrange(len(data))])])
        out = tmp_path / "out"
        try:
            unpack([Packed(tmp_path / "x")], out)
        except CascadeportError:
            damaged += 1
            assert not out.exists()
        else:
            shutil.rmtree(out)
    assert damaged > 200


def test_an_archive_that_is_gone(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "x.zip", tmp_path / "out").what


def test_a_full_disk_is_noticed_before_a_byte_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(tmp_path / "x.zip")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=(64 << 20) + 3002))
    assert "Not enough disk space" in refused(archive, tmp_path / "out").what
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=(64 << 20) + 3003))
    unpack([Packed(archive)], tmp_path / "out")


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip")

    def interrupt(*step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack([Packed(archive)], tmp_path / "out", progress=interrupt)
    assert list(tmp_path.iterdir()) == [archive]
