"""Model cards: a mistakes are all reported at once, each with its key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.config import cards

GOOD = """
title = "A detector"
classes = [{ name = "person", category_id = 1 }, { name = "dog", category_id = 18 }]
[input]
size = 416
mean = [103.53, 116, 123.675]
std = [57.375, 57.12, 58.395]
channels = "bgr"
[graph]
path = "detector.onnx"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "detector.onnx").write_bytes(b"graph")
    return tmp_path


def load(folder: Path, text: str) -> cards.Card:
    path = folder / "detector.toml"
    path.write_text(text, encoding="utf-8")
    return cards.load(path)


def errors(folder: Path, text: str) -> list[str]:
    with pytest.raises(CascadeportError) as caught:
        load(folder, text)
    assert str(folder) in caught.value.where
    return caught.value.details


def test_good_card(folder: Path) -> None:
    card = load(folder, GOOD)
    assert card.name == "detector"
    assert card.input.mean == (103.53, 116.0, 123.675)
    assert card.input.padding == "centre"
    assert [item.category_id for item in card.classes] == [1, 18]
    assert card.model_digest == hashlib.sha256(b"graph").hexdigest()


def test_every_error_is_listed_with_its_key(folder: Path) -> None:
    text = GOOD.replace("channels", "chanels").replace("size = 416", 'size = "416"')
    text = text.replace("category_id = 18", "category_id = 1.5")
    found = errors(folder, text)
    assert "input.chanels: unknown key; perhaps you meant 'channels'" in found
    assert "input.channels: missing" in found
    assert any(error.startswith("input.size:") and "'416'" in error for error in found)
    assert any(error.startswith("classes[1].category_id:") for error in found)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[57.375, 57.12, 58.395]", "[57.375, 0, 58.395]", "input.std: every number must be above"),
        (
            "[103.53, 116, 123.675]",
            "[103.53, nan, 123.675]",
            "input.mean: every number must be fin",
        ),
        ("[103.53, 116, 123.675]", "[103.53, 116]", "input.mean"),
        ('"bgr"', '"gbr"', "input.channels"),
        ("category_id = 18", "category_id = 1", "classes: class 1 repeats the category_id 1"),
        ('name = "dog"', 'name = "person"', "classes: class 1 repeats the name 'person'"),
        ('path = "detector.onnx"', 'path = "other.onnx"', "graph.path: there is no file"),
        ("title", "tittle", "tittle: unknown key; perhaps you meant 'title'"),
        (
            'path = "detector.onnx"',
            f'path = "detector.onnx"\nsha256 = "{"0" * 64}"',
            "graph.sha256: ",
        ),
    ],
)
def test_an_error(folder: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = errors(folder, GOOD.replace(old, new))
    assert any(error.startswith(expected) for error in found), found


SHAPES = GOOD.replace(
    "size = 416", "shapes = [[800, 1344], [1344, 800]]\nresize = [1333, 800]"
).replace(
    'path = "detector.onnx"', 'files = [{ path = "detector.onnx" }, { path = "detector.onnx" }]'
)
FILE = '{ path = "detector.onnx" }'


def test_a_square_and_several_shapes(folder: Path) -> None:
    square = load(folder, GOOD)
    assert square.input.canvases == ((416, 416),)
    assert square.input.edges == (416, 416)
    assert square.input.described == "416x416"
    assert square.input.suffix((416, 416)) == ""
    card = load(folder, SHAPES)
    assert card.input.canvases == ((800, 1344), (1344, 800))
    assert card.input.edges == (1333, 800)
    assert card.input.described == "800x1344, 1344x800, pictures to 1333x800"
    assert [card.input.suffix(shape) for shape in card.input.canvases] == ["-800x1344", "-1344x800"]
    assert card.model_digest not in ("", square.model_digest)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "resize = [1333, 800]",
            "resize = [1333, 800]\nsize = 800",
            "input.size: 'size' and 'shapes' exclude each other",
        ),
        ("resize = [1333, 800]", "", "input.resize: missing"),
        ("shapes = [[800, 1344], [1344, 800]]", "size = 800", "input.resize: it belongs to"),
        ("shapes = [[800, 1344], [1344, 800]]", "", "input.size: missing; or give 'shapes'"),
        ("[1333, 800]", "[800, 1333]", "input.resize: the long edge comes first"),
        ("[1333, 800]", "[1333]", "input.resize"),
        ("[[800, 1344], [1344, 800]]", "[]", "input.shapes: empty; give"),
        ("[1344, 800]]", "[800, 1344]]", "input.shapes: a shape is listed twice"),
        ("[1344, 800]]", "[1333, 800]]", "input.shapes: [1333, 800]: rows and columns must be"),
        ("[1344, 800]]", "[1344]]", "input.shapes[1]"),
        (
            "[[800, 1344], [1344, 800]]",
            "[[800, 1344]]",
            "input.resize: high pictures become up to 800 wide and 1333 high",
        ),
        (
            "[[800, 1344], [1344, 800]]",
            "[[1344, 800]]",
            "input.resize: wide pictures become up to 1333 wide and 800 high",
        ),
        ("[1333, 800]", "[1400, 800]", "input.resize: wide pictures become up to 1400 wide"),
        (f"[{FILE}, {FILE}]", f"[{FILE}]", "the file: [graph] has 1 files, input.shapes 2 shapes"),
        (f"files = [{FILE}, {FILE}]", 'path = "detector.onnx"', "the file: [graph] has 1 files"),
        (
            "files = ",
            'path = "detector.onnx"\nfiles = ',
            "graph: either 'path' (one shape) or 'files'",
        ),
        (f"files = [{FILE}, {FILE}]", "", "graph: either 'path' (one shape) or 'files'"),
        (
            "files = ",
            f'sha256 = "{"0" * 64}"\nfiles = ',
            "graph: 'sha256' is that of 'path'",
        ),
        (
            f", {FILE}]",
            ', { path = "other.onnx" }]',
            "graph.files[1].path: there is no file",
        ),
    ],
)
def test_errors_in_shapes(folder: Path, old: str, new: str, expected: str) -> None:
    assert old in SHAPES
    found = errors(folder, SHAPES.replace(old, new))
    assert any(error.startswith(expected) for error in found), found


def test_right_digest_is_accepted(folder: Path) -> None:
    digest = hashlib.sha256(b"graph").hexdigest()
    load(folder, GOOD + f'sha256 = "{digest}"\n')


def test_a_card_without_a_source(folder: Path) -> None:
    found = errors(folder, GOOD.split("[graph]")[0])
    assert found == ["the file: the card needs a [graph] or a [checkpoint]"]


def test_classes_from_a_file(folder: Path) -> None:
    (folder / "list.toml").write_text('classes = [{ name = "cat", category_id = 17 }]')
    lines = [line for line in GOOD.splitlines() if not line.startswith("classes")]
    card = load(folder, "\n".join(['classes = "list.toml"', *lines]))
    assert [item.name for item in card.classes] == ["cat"]


def test_broken_toml_names_the_line(folder: Path) -> None:
    with pytest.raises(CascadeportError, match="line 3"):
        load(folder, 'title = "x"\n\nbroken = = 1\n')


def test_unknown_model_suggests(tmp_path: Path) -> None:
    (tmp_path / "demo.toml").touch()
    with pytest.raises(CascadeportError, match="perhaps you meant 'demo'"):
        cards.find("dmo", tmp_path)
    assert cards.find("demo", tmp_path) == tmp_path / "demo.toml"
    assert cards.find("/somewhere/own.toml", tmp_path) == Path("/somewhere/own.toml")


def test_cards_of_this_project_are_valid(repository: Path) -> None:
    found = sorted((repository / "models").glob("*.toml"))
    assert {path.stem for path in found} >= {"demo", "cascade_r101_dcn"}
    for path in found:
        cards.load(path)
