"""Descriptions of data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport import datasets
from cascadeport import download as fetch
from cascadeport.base.errors import CascadeportError

ARCHIVE = """
[[archives]]
file = "a.zip"
urls = ["https://example.org/a.zip"]
size_bytes = 3
sha256 = "{digest}"
source = "example/example, README.md"
""".format(digest="0" * 64)
COCO = 'kind = "coco"\ntitle = "t"\n'


def errors(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(CascadeportError) as caught:
        datasets.describe(path)
    return caught.value.details


def test_ours_can_be_read(repository: Path) -> None:
    folder = repository / "models" / "data"
    demo = datasets.describe(folder / "demo.toml")
    assert isinstance(demo, datasets.Scenes)
    assert demo.count == 200
    coco = datasets.describe(folder / "coco.toml")
    assert isinstance(coco, datasets.Coco)
    assert [archive.size_bytes for archive in coco.archives] == [815585330, 252907541]
    for archive in coco.archives:
        # Raises where an address or a digest cannot be used.
        fetch.Source(archive.file, archive.urls, archive.sha256, archive.size_bytes)


def test_every_error_is_told(tmp_path: Path) -> None:
    text = COCO + 'annotation = "x"\npictures = "../x"\n' + ARCHIVE.replace("= 3", "= 0")
    assert errors(tmp_path / "d.toml", text) == [
        "pictures: must be a path below the data set's folder (it is '../x')",
        "archives[0].size_bytes: input should be greater than 0 (it is 0)",
        "annotation: unknown key; perhaps you meant 'annotations'",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('title = "t"', "kind: missing"),
        ('kind = "scene"', "kind: perhaps you meant 'scenes'"),
        (COCO, "archives: missing"),
        (COCO + "archives = []", "archives: "),
        (COCO + ARCHIVE.replace("0" * 64, "0" * 63), "archives[0].sha256: "),
        (COCO + ARCHIVE.replace('"a.zip"', '"../a.zip"'), "archives[0].file: "),
        (COCO + ARCHIVE.replace('"https://example.org/a.zip"', ""), "archives[0].urls: "),
        ('kind = "scenes"\ntitle = "t"\ncount = 0\nseed = 1', "count: "),
    ],
)
def test_errors(tmp_path: Path, text: str, error: str) -> None:
    (found,) = errors(tmp_path / "d.toml", text)
    assert found.startswith(error)


def test_a_right_one_is_taken(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text(COCO + ARCHIVE)
    description = datasets.describe(tmp_path / "d.toml")
    assert isinstance(description, datasets.Coco)
    assert (description.pictures, description.annotations) == (
        datasets.PICTURES,
        datasets.ANNOTATIONS,
    )


def test_a_model_that_is_asked_for_has_its_own_data() -> None:
    """`SIMULATE=1 MODEL=demo make all TARGET=310P3` is not the demo on COCO."""
    from cascadeport import backends
    from cascadeport.config import targets
    from cascadeport.config.options import Options
    from cascadeport.pipeline.stages import data

    known = targets.load(Options().targets, backends.row)

    def wanted(target: str, **options: str) -> str:
        return data.requested(Options(target=target, **options), known[target])

    assert wanted("310P3") == wanted("T4") == "coco"
    assert wanted("cpu") == wanted("310P3", model="demo") == "demo"
    assert wanted("cpu", model="cascade_r101_dcn") == "coco"
    assert wanted("310P3", model="demo", data="/mine") == "/mine"
