"""A described data set: downloaded, unpacked to COCO layout and loaded."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cascadeport import datasets, download
from cascadeport.base.errors import CascadeportError

from tests.helpers import web_server
from tests.helpers.web_server import Server

BRISK = download.Policy(attempts=2, backoff_s=0, longest_wait_s=0)
ANNOTATIONS = {
    "images": [{"id": 7, "file_name": "7.jpg", "width": 4, "height": 3}],
    "annotations": [],
    "categories": [{"id": 1, "name": "person"}],
}


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


PICTURES = zipped({"val2017/7.jpg": b"picture", "readme.txt": b"not wanted"})
LABELS = zipped({"annotations/instances_val2017.json": json.dumps(ANNOTATIONS).encode()})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with web_server.running() as running:
        yield running


def described(path: Path, server: Server) -> datasets.Coco:
    lines = ['kind = "coco"', 'title = "A small one"']
    for file, content, members in (
        ("pictures.zip", PICTURES, '["val2017/*"]'),
        ("labels.zip", LABELS, "[]"),
    ):
        address = server.serve(f"/{file}", web_server.whole(content))
        lines += [
            "[[archives]]",
            f'file = "{file}"',
            f'urls = ["{address}"]',
            f"size_bytes = {len(content)}",
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"',
            'source = "this test"',
            f"members = {members}",
        ]
    path.write_text("\n".join(lines))
    description = datasets.describe(path)
    assert isinstance(description, datasets.Coco)
    return description


def test_from_description_to_data_set(server: Server, tmp_path: Path) -> None:
    description = described(tmp_path / "small.toml", server)
    reported: list[tuple[int, int, str]] = []
    out = tmp_path / "data"
    out.mkdir()
    found = download.download_dataset(
        description,
        tmp_path / "downloads",
        out,
        policy=BRISK,
        progress=lambda *step: reported.append(step),
    )
    assert [one.path.name for one in found] == ["pictures.zip", "labels.zip"]
    assert list(dict.fromkeys(phase for _, _, phase in reported)) == [
        "pictures.zip",
        "labels.zip",
        "unpack",
    ]
    assert not (out / "readme.txt").exists()
    dataset = datasets.load(out, pictures=description.pictures, annotations=description.annotations)
    assert dataset.items == (datasets.Item(7, "7.jpg", 4, 3),)


def test_archives_that_are_here_need_no_network(server: Server, tmp_path: Path) -> None:
    description = described(tmp_path / "small.toml", server)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "pictures.zip").write_bytes(PICTURES)
    download.download_dataset(description, tmp_path / "downloads", tmp_path / "data", policy=BRISK)
    assert [path for path, _ in server.log] == ["/labels.zip"]


def test_an_incomplete_data_set_does_not_appear(server: Server, tmp_path: Path) -> None:
    description = described(tmp_path / "small.toml", server)
    server.serve("/labels.zip", web_server.status(404))
    with pytest.raises(CascadeportError, match=r"labels\.zip could not be downloaded"):
        download.download_dataset(
            description, tmp_path / "downloads", tmp_path / "data", policy=BRISK
        )
    assert not (tmp_path / "data").exists()
    assert (tmp_path / "downloads" / "pictures.zip").exists()
