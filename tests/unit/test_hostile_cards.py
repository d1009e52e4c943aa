"""Model cards and other TOML files that are hostile or odd: each ends in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.config import cards, schema, targets
from cascadeport.config.options import Options
from cascadeport.pipeline.stages import data, export

from tests.helpers import small_world


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return small_world.card(tmp_path)


def changed(card: Path, old: str, new: str) -> CascadeportError:
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))
    with pytest.raises(CascadeportError) as caught:
        cards.load(card)
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("mean = [0, 0, 0]", f"mean = [1{'0' * 400}, 0, 0]", "input.mean[0]"),
        ("category_id = 5", f"category_id = 1{'0' * 400}", "classes[0].category_id"),
        ('title = "Small"', 'title = "\\u001b[31mSmall"', "title"),
        ('name = "thing"', 'name = "th\\ning"', "classes[0].name"),
    ],
)
def test_values_that_cannot_be(card: Path, old: str, new: str, key: str) -> None:
    error = changed(card, old, new)
    assert [detail.split(":")[0] for detail in error.details] == [key]
    assert len(error.details[0]) < 200


@pytest.mark.parametrize("text", ["x = " + "1" * 5000, "x = " + "[" * 5000, "x = " + "{a=" * 5000])
def test_numbers_and_nesting_without_end(card: Path, text: str) -> None:
    error = changed(card, "[input]", f"{text}\n[input]")
    assert str(card) in error.where


@pytest.mark.parametrize("path", ["a\\u0000b", "x" * 5000, "loop"])
def test_graphs_that_there_cannot_be(card: Path, path: str) -> None:
    (card.parent / "loop").symlink_to("loop")
    changed(card, '"small.onnx"', f'"{path}"')


def test_a_card_is_a_regular_file_of_a_limited_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    with (tmp_path / "big.toml").open("wb") as file:
        file.truncate(schema.LIMIT + 1)
    for name, reason in (
        ("pipe.toml", "a named pipe, not a file"),
        ("folder.toml", "a folder, not a file"),
        ("big.toml", "larger than 4 MiB"),
        ("absent.toml", "does not exist"),
    ):
        with pytest.raises(CascadeportError, match=reason):
            cards.load(tmp_path / name)
    with pytest.raises(CascadeportError, match="a device, not a file"):
        cards.load(Path("/dev/zero"))


def test_classes_of_an_endless_file(card: Path) -> None:
    text = card.read_text()
    start, rest = text.split("classes = ", 1)
    card.write_text(f'{start}classes = "/dev/zero"\n{rest.split(chr(10), 1)[1]}')
    with pytest.raises(CascadeportError, match="list of classes is a device"):
        cards.load(card)


@pytest.mark.parametrize("text", ["~nobody-of-that-name/x.toml", "a\0b/c.toml"])
def test_paths_of_the_command_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(CascadeportError):
        cards.load(cards.find(text, tmp_path))
    target = targets.load(Options().targets, backends.row)["cpu"]
    with pytest.raises(CascadeportError):
        data.source(Options(data=text), target)
    card = cards.load(cards.find("demo", Options().models))
    assert card.checkpoint is not None
    with pytest.raises(CascadeportError):
        export._own(card, card.checkpoint, Options(checkpoint=Path(text)))
