"""A picture's position in the network's input: computed once, written, and read back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Dict

from bundle.errors import BundleError
from bundle.job import Picture, Preprocess, Shape


@dataclass(frozen=True)
class PictureGeometry:
    """The position and scale of one picture in the network's input.

    Args:
        id: The picture's id in the data set.
        file: The picture's file, as the job names it.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        input_width: Width of the network's input in pixels.
        input_height: Height of the network's input in pixels.
        resized_width: Width of the resized picture in network pixels.
        resized_height: Height of the resized picture in network pixels.
        left: Columns of padding to its left.
        top: Rows of padding above it.
        scale_x: Network pixels per picture pixel, horizontally.
        scale_y: Network pixels per picture pixel, vertically.
    """

    id: int
    file: str
    width: int
    height: int
    input_width: int
    input_height: int
    resized_width: int
    resized_height: int
    left: int
    top: int
    scale_x: float
    scale_y: float

    @property
    def shape(self) -> Shape:
        """The shape of the input that the picture is in."""
        return Shape(self.input_height, self.input_width)

    def to_line(self) -> str:
        """The geometry as a line of JSON."""
        return json.dumps(asdict(self))


def fit(picture: Picture, settings: Preprocess) -> PictureGeometry:
    """Fits a picture into its input, keeping its aspect ratio.

    The picture becomes as large as `settings.resize` allows for its long and its short edge. An
    edge has `int(edge * scale + 0.5)` pixels, as in `mmcv.imrescale` (open-mmlab/mmcv v1.2.4,
    mmcv/image/geometric.py). If that is 0, which takes an aspect ratio of more than twice the long
    edge, mmcv fails; here the edge has 1 pixel.

    Args:
        picture: The picture and its size.
        settings: From a job that has been checked, so that there is an input for every picture.
    """
    long, short = settings.resize
    edges = picture.width, picture.height
    scale = min(long / max(edges), short / min(edges))
    width, height = (max(1, int(edge * scale + 0.5)) for edge in edges)
    shape = settings.shape_for(height, width)
    centre = settings.padding == "centre"
    return PictureGeometry(
        id=picture.id,
        file=picture.file,
        width=picture.width,
        height=picture.height,
        input_width=shape.width,
        input_height=shape.height,
        resized_width=width,
        resized_height=height,
        left=(shape.width - width) // 2 if centre else 0,
        top=(shape.height - height) // 2 if centre else 0,
        scale_x=width / picture.width,
        scale_y=height / picture.height,
    )


def read_geometry(path: str) -> Dict[int, PictureGeometry]:
    """Reads `geometry.jsonl`.

    Returns:
        The geometries by the pictures' ids.

    Raises:
        BundleError: The file cannot be read, or a line is not a geometry.
    """
    geometries = {}
    line_number = 0
    try:
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                line_number += 1
                geometry = PictureGeometry(**json.loads(line))
                geometries[geometry.id] = geometry
    except (OSError, ValueError, TypeError) as failure:
        raise BundleError(
            "The geometry of the pictures cannot be read: {}.".format(failure),
            "{}, line {}".format(path, line_number) if line_number else path,
            "Preprocess the pictures again: boxes are never mapped back by a guess.",
        ) from None
    return geometries
