"""The demo's pictures: reproducible to the byte, with all promised peculiarities."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cascadeport import datasets
from cascadeport.base.errors import CascadeportError
from cascadeport.scenes import CATEGORIES, generate
from cascadeport.scenes.annotate import box, polygons, run_lengths
from cascadeport.scenes.dataset import CYCLE
from cascadeport.scenes.files import Storage, write
from PIL import Image

COUNT, SEED = 200, 2017
EXIF_ORIENTATION = 0x0112


class HeldOut:
    """The demo's data set as a reader sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.annotations = folder / "annotations" / "instances_val2017.json"
        self.content: dict[str, Any] = json.loads(self.annotations.read_text())
        self.images: list[dict[str, Any]] = self.content["images"]
        self.things: list[dict[str, Any]] = self.content["annotations"]
        self.objects = [thing for thing in self.things if not thing["iscrowd"]]
        self.crowds = [thing for thing in self.things if thing["iscrowd"]]
        self.sides = {image["id"]: (image["width"], image["height"]) for image in self.images}

    def path(self, image: dict[str, Any]) -> Path:
        return self.folder / "val2017" / str(image["file_name"])

    def opened(self, format: str) -> list[Image.Image]:
        found = [Image.open(self.path(image)) for image in self.images]
        return [picture for picture in found if picture.format == format]

    def longest_sides(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([max(thing["bbox"][2:]) for thing in self.objects], np.float64)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> HeldOut:
    folder = tmp_path_factory.mktemp("scenes") / "held-out"
    generate(folder, COUNT, SEED)
    return HeldOut(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# The generator


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    generate(tmp_path / "a", CYCLE + 1, 7)
    generate(tmp_path / "b", CYCLE + 1, 7)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_picture_does_not_depend_on_the_count(tmp_path: Path, held_out: HeldOut) -> None:
    generate(tmp_path / "few", CYCLE, SEED)
    few, all_of_them = contents(tmp_path / "few" / "val2017"), contents(held_out.folder / "val2017")
    assert len(few) == CYCLE
    assert few.items() <= all_of_them.items()


def test_another_seed_gives_other_pictures(tmp_path: Path, held_out: HeldOut) -> None:
    generate(tmp_path / "other", CYCLE, SEED + 1)
    ours = contents(held_out.folder / "val2017")
    for name, picture in contents(tmp_path / "other" / "val2017").items():
        assert ours[name] != picture


def test_progress_is_reported_after_every_picture(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    generate(tmp_path / "scenes", 3, 1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (-5, 1), (1, -1)])
def test_a_count_or_seed_out_of_range_is_refused(tmp_path: Path, count: int, seed: int) -> None:
    with pytest.raises(CascadeportError) as refused:
        generate(tmp_path / "new", count, seed)
    assert refused.value.next
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CascadeportError, match="not empty") as refused:
        generate(tmp_path, 1, 1)
    assert str(tmp_path) in refused.value.where
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def run_module(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cascadeport.scenes", *arguments],
        cwd=repository / "scripts",
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_draws_what_the_function_draws(repository: Path, tmp_path: Path) -> None:
    done = run_module(repository, str(tmp_path / "a"), "--count", "2", "--seed", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    generate(tmp_path / "b", 2, 3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_command_explains_a_failure_without_a_traceback(
    repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        done = run_module(repository, str(folder), "--count", "1")
        assert done.returncode == 2
        assert "next:" in done.stderr
        assert "Traceback" not in done.stderr


# What the 200 pictures hold


def test_opencv_decodes_every_picture_to_the_size_in_the_annotations(held_out: HeldOut) -> None:
    """By its default flag, which the bundle and mmcv use: the EXIF orientation is applied."""
    assert len(held_out.images) == COUNT
    for image in held_out.images:
        picture = cv2.imread(str(held_out.path(image)))
        assert picture is not None, image["file_name"]
        assert picture.shape == (image["height"], image["width"], 3), image["file_name"]


def test_landscape_portrait_and_square_pictures_within_the_sides(held_out: HeldOut) -> None:
    shapes = Counter(
        "square" if width == height else "landscape" if width > height else "portrait"
        for width, height in held_out.sides.values()
    )
    assert all(shapes[shape] >= 60 for shape in ("square", "landscape", "portrait"))
    sides = np.array(list(held_out.sides.values()))
    assert sides.min() >= 200
    assert sides.max() <= 420


def test_grayscale_and_cmyk_jpegs_and_pngs(held_out: HeldOut) -> None:
    modes = Counter(picture.mode for picture in held_out.opened("JPEG"))
    assert modes["L"] == modes["CMYK"] == COUNT // CYCLE
    assert len(held_out.opened("PNG")) == COUNT // CYCLE


def test_every_exif_orientation_that_moves_pixels(held_out: HeldOut) -> None:
    found = {picture.getexif().get(EXIF_ORIENTATION) for picture in held_out.opened("JPEG")}
    assert found == {None, 2, 3, 4, 5, 6, 7, 8}


def test_names_with_spaces_and_letters_beyond_ascii(held_out: HeldOut) -> None:
    names = [str(image["file_name"]) for image in held_out.images]
    assert len(set(names)) == COUNT
    assert sum(" " in name for name in names) == COUNT // CYCLE
    assert sum(not name.isascii() for name in names) == COUNT // CYCLE


def test_pictures_without_objects(held_out: HeldOut) -> None:
    with_something = {thing["image_id"] for thing in held_out.things}
    assert COUNT - len(with_something) == COUNT // CYCLE


def test_category_ids_have_gaps_and_every_category_is_well_represented(held_out: HeldOut) -> None:
    ids = [category["id"] for category in held_out.content["categories"]]
    assert ids == [category.id for category in CATEGORIES]
    assert len(ids) == 8
    assert ids != list(range(ids[0], ids[0] + 8))
    objects = Counter(thing["category_id"] for thing in held_out.objects)
    assert set(objects) == set(ids)
    assert min(objects.values()) >= 50


def test_tiny_and_huge_objects(held_out: HeldOut) -> None:
    """The shares that docs/demo.md describes: a tenth tiny, a tenth huge."""
    sides = held_out.longest_sides()
    assert 0.07 <= np.mean(sides <= 18) <= 0.13
    of_short_side = np.array(
        [
            max(thing["bbox"][2:]) / min(held_out.sides[thing["image_id"]])
            for thing in held_out.objects
        ]
    )
    assert 0.07 <= np.mean(of_short_side >= 0.5) <= 0.2


def test_occlusion(held_out: HeldOut) -> None:
    """More than half of the objects have a box that overlaps another's."""

    def overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
        (ax, ay, aw, ah), (bx, by, bw, bh) = a["bbox"], b["bbox"]
        return min(ax + aw, bx + bw) > max(ax, bx) and min(ay + ah, by + bh) > max(ay, by)

    overlapping = sum(
        any(
            other is not thing and other["image_id"] == thing["image_id"] and overlap(thing, other)
            for other in held_out.objects
        )
        for thing in held_out.objects
    )
    assert overlapping / len(held_out.objects) > 0.5


def test_objects_are_seen_where_their_boxes_are(held_out: HeldOut) -> None:
    """In pictures turned by EXIF: the colours on both sides of every outline differ.

    Were a picture turned the wrong way, there would mostly be background on both sides.
    """
    outlines: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in held_out.images}
    for thing in held_out.objects:
        outlines[thing["image_id"]].append(thing)
    seen = 0
    for index, image in enumerate(held_out.images):
        if index % CYCLE != 4:
            continue
        picture = cv2.imread(str(held_out.path(image))).astype(np.int64)
        for thing in outlines[image["id"]]:
            mask = np.zeros(picture.shape[:2], np.uint8)
            for polygon in thing["segmentation"]:
                cv2.fillPoly(mask, [np.int32(np.array(polygon).reshape(-1, 2) - 0.5)], 1)
            kernel = np.ones((7, 7), np.uint8)
            rim_inside = (mask - cv2.erode(mask, np.ones((3, 3), np.uint8))) > 0
            rim_outside = (cv2.dilate(mask, kernel) - cv2.dilate(mask, kernel[:3, :3])) > 0
            inside, outside = picture[rim_inside].mean(axis=0), picture[rim_outside].mean(axis=0)
            seen += 1
            assert np.abs(inside - outside).sum() > 30, (image["file_name"], thing["bbox"])
    assert seen >= 15


# The annotations


def test_boxes_are_inside_their_pictures(held_out: HeldOut) -> None:
    for thing in held_out.things:
        x, y, width, height = thing["bbox"]
        right, bottom = held_out.sides[thing["image_id"]]
        assert x >= 0
        assert y >= 0
        assert width >= 1
        assert height >= 1
        assert x + width <= right
        assert y + height <= bottom
        assert 1 <= thing["area"] <= width * height


def test_ids_are_unique_and_refer_to_what_exists(held_out: HeldOut) -> None:
    ids = [thing["id"] for thing in held_out.things]
    assert len(set(ids)) == len(ids)
    assert len(held_out.sides) == COUNT
    assert {thing["image_id"] for thing in held_out.things} <= set(held_out.sides)
    categories = {category["id"] for category in held_out.content["categories"]}
    assert {thing["category_id"] for thing in held_out.things} <= categories
    licenses = {terms["id"] for terms in held_out.content["licenses"]}
    assert {image["license"] for image in held_out.images} == licenses


def test_no_single_object_is_mostly_hidden(held_out: HeldOut) -> None:
    """A visible object is annotated however small, but none is a sliver of a few pixels."""
    assert min(thing["area"] for thing in held_out.objects) >= 10


def test_crowds_are_run_lengths_and_single_objects_polygons(held_out: HeldOut) -> None:
    assert len(held_out.crowds) == 2 * COUNT // CYCLE
    for crowd in held_out.crowds:
        width, height = held_out.sides[crowd["image_id"]]
        assert crowd["segmentation"]["size"] == [height, width]
        assert sum(crowd["segmentation"]["counts"]) == width * height
        assert sum(crowd["segmentation"]["counts"][1::2]) == crowd["area"]
    for thing in held_out.objects:
        assert all(len(polygon) >= 6 for polygon in thing["segmentation"])


def test_pycocotools_reads_the_same_boxes_and_areas(held_out: HeldOut) -> None:
    from pycocotools import mask as masks
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(held_out.annotations))
    assert len(coco.getImgIds()) == COUNT
    for crowd in coco.loadAnns(coco.getAnnIds(iscrowd=True)):
        rle = coco.annToRLE(crowd)
        assert masks.area(rle) == crowd["area"]
        assert masks.toBbox(rle).tolist() == crowd["bbox"]
    outlined = coco.loadAnns(coco.getAnnIds(iscrowd=False))
    loose = 0
    for thing in outlined:
        x, y, width, height = masks.toBbox(coco.annToRLE(thing)).tolist()
        left, top, across, down = thing["bbox"]
        rims = (x - left, y - top, left + across - x - width, top + down - y - height)
        assert min(rims) >= -1, "the outline leaves the box"
        loose += max(rims) > 2
    assert len(outlined) == len(held_out.objects)
    # Where an occluder leaves a sliver of a pixel's width, the box holds it, the outline does not.
    assert loose <= 0.03 * len(outlined)


def test_our_own_reader_finds_no_errors(held_out: HeldOut) -> None:
    dataset = datasets.load(held_out.folder)
    assert len(dataset.items) == COUNT
    assert not dataset.warnings
    assert [category.id for category in dataset.categories] == [c.id for c in CATEGORIES]


# The parts


def test_run_lengths_are_by_column_and_start_with_background() -> None:
    mask = np.array([[0, 1, 1], [0, 1, 0]], np.bool_)
    assert run_lengths(mask) == [2, 3, 1]
    assert run_lengths(~mask) == [0, 2, 3, 1]
    assert run_lengths(np.zeros((2, 2), np.bool_)) == [4]
    assert run_lengths(np.ones((2, 2), np.bool_)) == [0, 4]


def test_a_box_counts_pixels_not_distances() -> None:
    mask = np.zeros((6, 9), np.bool_)
    mask[2:5, 3:8] = True
    assert box(mask) == [3, 2, 5, 3]
    assert polygons(mask) == [[3.5, 2.5, 3.5, 4.5, 7.5, 4.5, 7.5, 2.5]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_file_is_read_upright(tmp_path: Path, orientation: int) -> None:
    picture = np.zeros((40, 64, 3), np.uint8)
    picture[:20, :32] = (255, 0, 0)
    picture[20:, 32:] = (0, 0, 255)
    path = tmp_path / "turned.jpg"
    write(picture, path, Storage(orientation=orientation, quality=95))
    seen = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    assert seen.shape == picture.shape
    difference = np.abs(seen.astype(np.int64) - picture)
    assert np.median(difference) <= 2
    assert difference[4:16, 4:28].max() <= 20
    assert difference[24:36, 36:60].max() <= 20


def test_cmyk_keeps_the_colours(tmp_path: Path) -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:] = (200, 90, 30)
    write(picture, tmp_path / "cmyk.jpg", Storage(mode="CMYK", quality=95))
    seen = cv2.cvtColor(cv2.imread(str(tmp_path / "cmyk.jpg")), cv2.COLOR_BGR2RGB)
    assert np.abs(seen.astype(np.int64) - picture).max() <= 4
