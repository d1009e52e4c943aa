"""From a checkpoint, or from random weights, to a result: the command line with an export in it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cascadeport.graph.verify import compare

from tests.helpers import web_server
from tests.helpers.export_world import LIMIT, World


@pytest.fixture(scope="module")
def world(repository: Path, export_python: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Shared by the tests: each model has folders of its own there."""
    return World(tmp_path_factory.mktemp("world"), repository, export_python.parents[1])


@pytest.fixture
def server() -> Iterator[web_server.Server]:
    with web_server.running() as running:
        yield running


@pytest.mark.export
def test_a_checkpoint_detects_what_the_committed_graph_detects(world: World) -> None:
    digest = hashlib.sha256(world.checkpoint.read_bytes()).hexdigest()
    card = world.card("own", f'path = "{world.checkpoint}"\nsha256 = "{digest}"\nconfig = "demo"')
    said = world.passes("--model", card)
    stages = [line.split()[1] for line in said.splitlines() if line.startswith("run ")]
    assert stages == ["draw", "export", "lower", "run", "COCO", "compare"]
    row = world.row("own")
    assert row["status"] == "measured"
    assert row["model_digest"] == digest

    world.passes("--model", "demo")
    committed, found = world.detections("demo"), world.detections("own")
    assert sorted(found) == sorted(committed)
    assert len(found) == LIMIT
    for picture, expected in committed.items():
        assert compare(str(picture), False, expected, found[picture]).passed
    assert row["map"] == pytest.approx(world.row("demo")["map"], abs=1e-6)


@pytest.mark.export
def test_the_verification_is_kept_and_told_of(world: World) -> None:
    card = world.card("told", f'path = "{world.checkpoint}"\nconfig = "demo"')
    said = world.passes("--model", card)
    folder = world.root / "build" / "models" / "told"
    (report,) = folder.glob("onnxruntime*/verification.json")
    assert str(report) in said
    written = json.loads(report.read_text())
    others = [each for each in written["pictures"] if not each["traced"]]
    assert written["passed"]
    assert len(others) >= 3
    assert min(each["expected"] for each in others) == 0
    assert max(each["expected"] for each in others) > 5
    export = json.loads((folder / "export" / "export.json").read_text())
    assert [each["name"] for each in export["pictures"]] == [
        each["name"] for each in written["pictures"]
    ]
    said = world.passes("--model", card)
    assert "skip     export" in said
    # The table is computed every time, and nothing else is.
    again = [line for line in said.splitlines() if line.startswith("run ")]
    assert again == ["run      compare and report"]


@pytest.mark.export
def test_a_checkpoint_is_fetched_checked_and_exported(
    world: World, server: web_server.Server
) -> None:
    content = world.checkpoint.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    address = server.serve("/demo-1234.pth", web_server.whole(content))
    source = f'urls = ["{address}"]\nsha256_prefix = "{digest[:8]}"\nconfig = "demo"'
    card = world.card("fetched", source)
    assert "fetch the checkpoint" in world.passes("--model", card)
    assert len(server.log) == 1
    assert world.row("fetched")["status"] == "measured"

    # One's own copy instead: nothing is fetched, the same is found.
    other = world.card("copied", source)
    copy = world.root / "my copy.pth"
    shutil.copy(world.checkpoint, copy)
    assert "fetch" not in world.passes("--model", other, "--checkpoint", copy)
    assert len(server.log) == 1
    fetched, copied = world.detections("fetched"), world.detections("copied")
    for picture, (boxes, labels) in fetched.items():
        assert np.array_equal(boxes, copied[picture][0])
        assert np.array_equal(labels, copied[picture][1])


@pytest.mark.export
def test_a_checkpoint_goes_before_the_graph_of_the_card(world: World) -> None:
    # The demo's card has both.
    done = world.run("--model", "demo", "--checkpoint", world.checkpoint, command="plan")
    assert "export demo to the neutral graph" in done.stdout
    assert "export" not in world.run("--model", "demo", command="plan").stdout


@pytest.mark.export
def test_faults_that_only_the_export_can_see(world: World) -> None:
    cut = world.root / "cut.pth"
    cut.write_bytes(world.checkpoint.read_bytes()[:-1000])
    card = world.card("cut", f'path = "{cut}"\nconfig = "demo"')
    said = world.fails(3, "--model", card)
    assert "truncated, or not a PyTorch checkpoint" in said
    assert str(cut) in said

    card = world.card("other", f'path = "{world.checkpoint}"\nconfig = "cascade_r101_dcn"')
    said = world.fails(3, "--model", card)
    assert "The checkpoint does not match the config" in said
    assert "backbone.layer3.6.conv1.weight" in said
    assert not (world.root / "build" / "models" / "other" / "export").exists()


@pytest.mark.export
def test_random_weights_say_so_everywhere(world: World) -> None:
    rows = []
    for seed in ("1", "2"):
        said = world.passes("--model", "demo", "--random-weights", seed)
        assert f"calibrating random weights, seed {seed}" in said
        name = f"demo-random{seed}"
        row = world.row(name)
        assert row["status"] == "measured"
        assert f"random weights, seed {seed}" in row["title"]
        (told,) = [one for one in row["semantics"] if "random weights" in one]
        assert "not comparable with the published" in told
        result = json.loads((world.results(name) / "cpu" / "result.json").read_text())
        assert result["model"]["checkpoint_sha256"] is None
        assert f"random weights, seed {seed}" in result["model"]["title"]
        for suffix in ("md", "html"):
            text = (world.results(name) / f"comparison.{suffix}").read_text()
            assert f"random weights, seed {seed}" in text
        (report,) = (world.root / "build" / "models" / name).glob("onnx*/verification.json")
        pictures = json.loads(report.read_text())["pictures"]
        assert max(each["expected"] for each in pictures if not each["traced"]) > 20
        rows.append(row)
    trained = hashlib.sha256(world.checkpoint.read_bytes()).hexdigest()
    assert len({trained, *(row["model_digest"] for row in rows)}) == 3
    first, second = world.detections("demo-random1"), world.detections("demo-random2")
    assert any(len(first[picture][0]) for picture in first)
    assert not all(
        np.array_equal(boxes, second[picture][0])
        for picture, (boxes, _) in first.items()
        if picture in second
    )


# Told before anything starts: no environment is needed


@pytest.fixture
def bare(repository: Path, tmp_path: Path) -> World:
    """There is no export environment."""
    return World(tmp_path, repository, tmp_path / "no environment")


def test_no_environment_is_said_before_anything_is_fetched(
    bare: World, server: web_server.Server
) -> None:
    address = server.serve("/x.pth", web_server.whole(b"x"))
    card = bare.card("far", f'urls = ["{address}"]\nsha256_prefix = "01234567"\nconfig = "demo"')
    said = bare.fails(2, "--model", card)
    assert "make export-env" in said
    assert str(bare.environment) in said
    assert not server.log
    assert not (bare.root / "build").exists()
    assert bare.run("--model", card, command="plan").returncode == 0
    looked = bare.run("--model", card, command="doctor")
    assert looked.returncode == 2
    assert "fail  export" in looked.stdout
    assert "ok    export" in bare.run("--model", "demo", command="doctor").stdout


@pytest.mark.parametrize("fault", ["another file", "truncated", "missing", "a folder"])
def test_a_wrong_copy_of_the_checkpoint(bare: World, fault: str) -> None:
    content = bare.checkpoint.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    mine = bare.root / "mine.pth"
    if fault == "a folder":
        mine.mkdir()
    elif fault != "missing":
        mine.write_bytes(content[:-1000] if fault == "truncated" else b"another")
    told = {"missing": "does not exist", "a folder": "is not a file"}.get(fault, digest)
    for model in (
        "demo",
        bare.card("own", f'urls = ["https://x/y"]\nsha256 = "{digest}"\nconfig = "demo"'),
    ):
        said = bare.fails(2, "--model", model, "--checkpoint", mine)
        assert str(mine) in said
        assert told in said


def test_two_kinds_of_weights_and_seeds_that_are_none(bare: World) -> None:
    said = bare.fails(2, "--random-weights", 1, "--checkpoint", bare.checkpoint)
    assert "A checkpoint and random weights exclude each other" in said
    told = {
        -1: "--random-weights must be at least 0, not -1.",
        1 << 40: "The seed of random weights must be from 0 to 2147483647.",
    }
    for seed, sentence in told.items():
        done = bare.run("--random-weights", seed)
        assert done.returncode == 2
        assert sentence in done.stderr


@pytest.mark.parametrize(
    ("source", "changes", "words"),
    [
        ('path = "{0}"\nconfig = "demmo"', {}, ("perhaps you meant 'demo'", "checkpoint.config")),
        ('path = "{0}"\nconfig = "demo"', {"256": "250"}, ("multiple of 32", "nearest is 256")),
        ('path = "absent.pth"\nconfig = "demo"', {}, ("there is no file",)),
    ],
)
def test_cards_that_cannot_be_exported(
    bare: World, source: str, changes: dict[str, str], words: tuple[str, ...]
) -> None:
    card = bare.card("card", source.format(bare.checkpoint), **changes)
    said = bare.fails(2, "--model", card)
    for word in words:
        assert word in said


def test_a_graph_without_a_way_to_export_it(bare: World) -> None:
    text = (bare.repository / "models" / "demo.toml").read_text()
    text = text[: text.index("[checkpoint]")].replace(
        '"demo/demo.onnx"', f'"{bare.repository}/models/demo/demo.onnx"'
    )
    card = bare.root / "graph.toml"
    card.write_text(text)
    for more in (("--random-weights", 1), ("--checkpoint", bare.checkpoint)):
        assert "does not say how its checkpoint is exported" in bare.fails(
            2, "--model", card, *more
        )
