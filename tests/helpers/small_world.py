"""A data set of four pictures, a graph that obeys the contract, and a card: runs take a second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper

SIZE = 64
BOX = [8.0, 12.0, 40.0, 44.0]
"""The box that the graph finds in every picture, in network pixels."""


def graph(
    path: Path,
    *,
    score: float = 0.9,
    input_name: str = "input",
    boxes_name: str = "boxes",
    size: int = SIZE,
    columns: int = 5,
    box: Sequence[float] = BOX,
) -> Path:
    """A graph that finds `box` with class 0 in every picture, and nothing else."""
    row = [*box, score, 0.0][:columns]
    found = helper.make_tensor("found", TensorProto.FLOAT, [1, columns], row)
    label = helper.make_tensor("label", TensorProto.INT64, [1], [0])
    nodes = [
        # The input takes part, so that no runtime may drop it.
        helper.make_node("ReduceMean", [input_name], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["found", "nothing"], [boxes_name]),
        helper.make_node("Identity", ["label"], ["labels"]),
    ]
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [1, 3, size, size])],
        [
            helper.make_tensor_value_info(boxes_name, TensorProto.FLOAT, [1, columns]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [1]),
        ],
        [found, label, zero],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 7
    onnx.save(model, str(path))
    return path


def card(folder: Path, **changes: Any) -> Path:
    """A card beside a graph made with `changes`."""
    graph(folder / "small.onnx", **changes)
    path = folder / "small.toml"
    path.write_text(
        f"""
title = "Small"
classes = [{{ name = "thing", category_id = 5 }}]
[input]
size = {SIZE}
mean = [0, 0, 0]
std = [1, 1, 1]
channels = "rgb"
[graph]
path = "small.onnx"
""",
        encoding="utf-8",
    )
    return path


def annotations(count: int = 4) -> dict[str, Any]:
    """Ground truth that the graph finds exactly: pictures are as large as the network's input."""
    x0, y0, x1, y1 = BOX
    return {
        "images": [
            {"id": 7 * n + 3, "file_name": f"{n}.jpg", "width": SIZE, "height": SIZE}
            for n in range(count)
        ],
        "annotations": [
            {
                "id": n + 1,
                "image_id": 7 * n + 3,
                "category_id": 5,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
            for n in range(count)
        ],
        "categories": [{"id": 5, "name": "thing"}],
    }


def dataset(folder: Path, count: int = 4) -> Path:
    """A folder in COCO layout."""
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    random = np.random.default_rng(1)
    content = annotations(count)
    for image in content["images"]:
        picture = random.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / "val2017" / image["file_name"]), picture)
    write_annotations(folder, content)
    return folder


def write_annotations(folder: Path, content: Any) -> None:
    """Replaces the annotation file."""
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
