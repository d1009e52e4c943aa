"""SHAPES= and RESIZE=: which shapes a run's pictures have, and how a few are chosen."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import cards, frames
from cascadeport.config.options import Options
from cascadeport.config.shape_choice import choose, own_shape

from bundle.geometry import fit
from bundle.job import Picture, Preprocess, Shape

MODELS = REPOSITORY / "models"
COCO = [(640, 480)] * 50 + [(480, 640)] * 20 + [(640, 427)] * 25 + [(640, 640)] * 5 + [(500, 120)]


def card(name: str = "demo") -> cards.Card:
    return cards.load(MODELS / f"{name}.toml")


def asked(**options: Any) -> cards.Card:
    return frames.framed(card(), Options(**options), lambda: COCO)


def test_the_cards_own_unless_asked() -> None:
    assert frames.framed(card(), Options(), lambda: pytest.fail("not needed")) == card()
    assert frames.name(Options()) == frames.title(Options()) == ""


@pytest.mark.parametrize(
    ("options", "canvases", "edges", "described", "row"),
    [
        ({"resize": "320"}, ((320, 320),), (320, 320), "320x320", "to320"),
        ({"resize": "300"}, ((320, 320),), (300, 300), "320x320, pictures to 300x300", "to300"),
        (
            {"resize": "333x200"},
            ((224, 352), (352, 224)),
            (333, 200),
            "224x352, 352x224, pictures to 333x200",
            "to333x200",
        ),
        (
            {"shapes": "own"},
            ((256, 256),),
            (256, 256),
            "own shapes, pictures to 256x256",
            "own-shapes",
        ),
        (
            {"shapes": "own", "resize": "1333x800"},
            ((800, 1344), (1344, 800)),
            (1333, 800),
            "own shapes, pictures to 1333x800",
            "own-shapes-to1333x800",
        ),
        (
            {"shapes": "256x256,192x256"},
            ((192, 256), (256, 256)),
            (256, 256),
            "192x256, 256x256, pictures to 256x256",
            "256x256-192x256",
        ),
    ],
)
def test_what_is_asked_for(
    options: dict[str, str], canvases: Any, edges: Any, described: str, row: str
) -> None:
    found = asked(**options)
    assert (found.input.canvases, found.input.edges) == (canvases, edges)
    assert found.input.described == described
    assert frames.name(Options(**options)) == row
    # One export serves all.
    assert found.traced == (256, 256)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shapes": "256"}, "'256' is not a choice of shapes"),
        ({"shapes": "owns"}, "'owns' is not a choice"),
        ({"shapes": "auto"}, "does not say how many"),
        ({"shapes": "auto:0"}, "does not say how many"),
        ({"shapes": "auto:17"}, "does not say how many"),
        ({"shapes": "250x256"}, "multiples of 32"),
        ({"shapes": "256x192"}, "fit into none of the shapes"),
        ({"shapes": "256x256,256x256"}, "listed twice"),
        ({"resize": "0"}, "'0' is not a size"),
        ({"resize": "800x1333"}, "'800x1333' is not a size"),
        ({"resize": "big"}, "'big' is not a size"),
        ({"resize": "9000"}, "do not go together"),
        ({"shapes": "auto:1", "resize": "1333x800"}, "cannot take both wide and high"),
    ],
)
def test_what_cannot_be(options: dict[str, str], message: str) -> None:
    with pytest.raises(CascadeportError, match=message):
        asked(**options)


def test_a_ready_graph_keeps_its_shape() -> None:
    own = card()
    assert own.graph is not None
    ready = own.model_copy(update={"graph": own.graph.model_copy(update={"kind": "ready"})})
    with pytest.raises(CascadeportError, match="is ready as it is: its shape cannot be changed"):
        frames.framed(ready, Options(shapes="own"), lambda: COCO)


def test_a_graph_for_each_shape_makes_no_others() -> None:
    own = card("cascade_r101_dcn_1333x800")
    file = cards.GraphFile(path="a.onnx")
    each = own.model_copy(update={"graph": cards.Graph(files=(file, file), kind="neutral")})
    with pytest.raises(CascadeportError, match="has a graph for each of its shapes"):
        frames.framed(each, Options(resize="640"), lambda: COCO)


def test_a_jobs_shapes_come_back() -> None:
    for options in ({}, {"shapes": "own"}, {"resize": "320x256"}):
        wanted = asked(**options).input
        job: dict[str, Any] = {"shapes": wanted.canvases, "resize": wanted.edges}
        if wanted.own_shapes:
            job["multiple"] = 32
        found = frames.of_job(card(), {"input": job})
        assert (found.input.canvases, found.input.edges) == (wanted.canvases, wanted.edges)
        assert found.input.own_shapes == wanted.own_shapes


def test_the_shape_of_a_picture_is_the_bundles() -> None:
    settings = Preprocess(
        "float32", (Shape(1344, 1344),), (1333, 800), (0,) * 3, (1,) * 3, "rgb", "corner", 32
    )
    for width, height in itertools.product((1, 37, 427, 480, 640, 1333), repeat=2):
        geometry = fit(Picture(1, "a", width, height), settings)
        assert own_shape((width, height), (1333, 800)) == geometry.shape


def pixels(shapes: Any, sizes: Any, edges: Any) -> int:
    total = 0
    for size in sizes:
        height, width = own_shape(size, edges)
        total += min(h * w for h, w in shapes if h >= height and w >= width)
    return total


def test_more_shapes_have_less_padding() -> None:
    edges = (1333, 800)
    totals = [pixels(choose(COCO, edges, count), COCO, edges) for count in range(2, 8)]
    assert totals == sorted(totals, reverse=True)
    own = sum(h * w for h, w in (own_shape(size, edges) for size in COCO))
    assert totals[0] > totals[1] > own
    # There are five kinds of pictures, and the bounds that no picture needs in full.
    assert totals[-1] == own


def test_the_choice_is_the_best_one() -> None:
    edges = (1333, 800)
    always = cards.bounds(edges)
    kinds = {own_shape(size, edges) for size in COCO}
    candidates = [(h, w) for h, _ in kinds for _, w in kinds]
    for count in (3, 4):
        chosen = choose(COCO, edges, count)
        assert set(always) <= set(chosen)
        best = min(
            pixels([*always, *more], COCO, edges)
            for more in itertools.combinations(candidates, count - 2)
        )
        assert pixels(chosen, COCO, edges) == best


def test_no_more_shapes_than_help() -> None:
    assert choose([(100, 100)] * 9, (320, 320), 8) == ((320, 320),)
    assert choose([], (320, 256), 4) == ((256, 320), (320, 256))


def test_own_shapes_in_a_card(tmp_path: Path) -> None:
    text = (MODELS / "cascade_r101_dcn_1333x800.toml").read_text()
    text = text.replace("classes/coco", f"{MODELS}/classes/coco")
    path = tmp_path / "own.toml"
    path.write_text(text.replace("shapes = [[800, 1344], [1344, 800]]", "own_shapes = true"))
    assert cards.load(path).input.canvases == ((800, 1344), (1344, 800))
    path.write_text(text.replace("resize =", "own_shapes = true\nresize ="))
    with pytest.raises(CascadeportError) as caught:
        cards.load(path)
    assert "input.shapes: with 'own_shapes' every picture has its own" in caught.value.details[0]
    path.write_text(
        text.replace("shapes = [[800, 1344], [1344, 800]]", "own_shapes = true\nsize = 800")
    )
    with pytest.raises(CascadeportError) as caught:
        cards.load(path)
    assert "either 'size' or 'resize'" in caught.value.details[0]
