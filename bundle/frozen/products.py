"""What is made from the finished lines of `infer`: COCO JSON, the guide's txt, drawn pictures."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterator, List

import numpy as np

from bundle.draw import draw_detections
from bundle.errors import PictureError
from bundle.files import JsonRows, Lines, make_folder, write_errors, write_json
from bundle.job import Job, Picture
from bundle.picture import decode, digest, read_bytes
from bundle.postprocess import Detections

FORMATS = ("jsonl", "coco", "txt")
# Drawn at a time; each picture that is being drawn is in memory, decoded.
_CHUNK = 64


def write_coco(lines: Iterator[Dict[str, Any]], out: str, suffix: str, job: Job) -> None:
    """Writes `detections.json`, COCO results, and `pictures.json`, which their ids refer to.

    `pictures.json` has `images` and `categories` as COCO's annotation files do.
    """
    images: List[Dict[str, Any]] = []
    with JsonRows(os.path.join(out, "detections{}.json".format(suffix))) as rows:
        for line in lines:
            if "skipped" in line:
                continue
            images.append(
                {
                    "id": line["id"],
                    "file_name": line["file"],
                    "width": line["width"],
                    "height": line["height"],
                }
            )
            rows.write(
                {
                    "image_id": line["id"],
                    "category_id": one["category_id"],
                    "bbox": one["bbox"],
                    "score": one["score"],
                }
                for one in line["detections"]
            )
    categories = [
        {"id": number, "name": name} for number, name in zip(job.category_ids, job.class_names)
    ]
    path = os.path.join(out, "pictures{}.json".format(suffix))
    write_json(path, {"images": images, "categories": categories})


def write_txt(lines: Iterator[Dict[str, Any]], out: str, names: Dict[str, str]) -> None:
    """Writes `txt/NAME.txt` for every picture: `name score x1 y1 x2 y2` per detection.

    The layout is that of the vendor's guide (Ascend/ModelZoo-PyTorch, Cascade-RCNN-Resnet101-FPN-
    DCN). Names of classes may have spaces, so readers split lines from the right.
    """
    for line in lines:
        if "skipped" in line:
            continue
        path = _product(out, "txt", names[line["file"]] + ".txt")
        with Lines(path) as file:
            for one in line["detections"]:
                x, y, width, height = one["bbox"]
                corners = [x, y, round(x + width, 4), round(y + height, 4)]
                values = [one["score"]] + corners
                file.write("{} {}\n".format(one["name"], " ".join(map(repr, values))))


def draw(
    lines: Iterator[Dict[str, Any]],
    out: str,
    names: Dict[str, str],
    job: Job,
    step: Callable[[], None],
    again: bool,
) -> List[str]:
    """Writes `drawn/NAME.jpg` for every picture; one that is there already is kept.

    Args:
        lines: What was found.
        out: The folder.
        names: The pictures' names.
        job: The job, with its root.
        step: Called for every picture.
        again: Whether to draw those that are there already.

    Returns:
        The files of pictures that could not be drawn, because they have changed meanwhile.
    """
    changed: List[str] = []

    def one(line: Dict[str, Any]) -> None:
        path = _product(out, "drawn", names[line["file"]] + ".jpg")
        if again or not os.path.exists(path):
            try:
                _draw_one(line, path, job)
            except PictureError:
                changed.append(line["file"])

    with ThreadPoolExecutor(job.workers, "draw") as pool:
        while True:
            chunk = list(itertools.islice(lines, _CHUNK))
            if not chunk:
                return changed
            for _ in pool.map(one, [line for line in chunk if "skipped" not in line]):
                step()


def _draw_one(line: Dict[str, Any], path: str, job: Job) -> None:
    picture = Picture(line["id"], line["file"], line["width"], line["height"])
    source = job.path(picture)
    data = read_bytes(source)
    if digest(data) != line["sha256"]:
        raise PictureError("The picture has changed since it was looked at.", source)
    jpeg = draw_detections(decode(data, picture, source), _detections(line, job), job)
    with write_errors(path):
        with open(path + ".part", "wb") as stream:
            stream.write(jpeg)
        os.replace(path + ".part", path)


def _detections(line: Dict[str, Any], job: Job) -> Detections:
    rows = line["detections"]
    boxes = np.array([one["bbox"] for one in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    index = {number: label for label, number in enumerate(job.category_ids)}
    return Detections(
        boxes,
        np.array([one["score"] for one in rows], np.float32),
        np.array([index[one["category_id"]] for one in rows], np.int64),
    )


def _product(out: str, kind: str, name: str) -> str:
    path = os.path.join(out, kind, name)
    make_folder(os.path.dirname(path))
    return path
