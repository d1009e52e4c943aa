"""The network's input as mmcv 1.2.4 makes it. Runs in .venv-py37, beside the bundle.

`mmcv_input.py golden` prints the digests that are committed as preprocess_mmcv.json.
`mmcv_input.py compare FOLDER` prints how many pictures of a folder were compared, and the names of
those whose input the bundle makes differently.
"""

import hashlib
import json
import sys
from pathlib import Path

import cv2
import mmcv
import numpy as np

from bundle.geometry import fit
from bundle.job import Picture, Preprocess, Shape
from bundle.preprocess import Canvas, Preprocessor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# (width, height) of the picture and the edge of the input: enlarged, reduced, by exactly 2, odd,
# narrow to a line, as it is.
SHAPES = [
    (64, 48, 160),
    (48, 64, 160),
    (640, 426, 416),
    (500, 375, 1216),
    (320, 240, 160),
    (321, 241, 160),
    (160, 160, 160),
    (1, 1, 96),
    (1, 50, 96),
    (300, 2, 96),
    (7, 5, 333),
    (1217, 1215, 1216),
]


def noise(width, height):
    """Bytes that depend on nothing but the size: (height, width, 3) uint8."""
    count = np.arange(width * height * 3, dtype=np.uint64)
    mixed = (count * np.uint64(2654435761) + np.uint64(width * 40503 + height)) % np.uint64(1 << 32)
    return (mixed >> np.uint64(24)).astype(np.uint8).reshape(height, width, 3)


def by_mmcv(image, size, channels, padding):
    """imrescale, imnormalize and impad, as the guide calls them."""
    if image.shape[:2] == (1, 1):
        # This OpenCV cannot enlarge a single pixel; two equal ones give the same picture.
        image = np.repeat(image, 2, axis=1)
        resized = mmcv.imresize(image, (size, size))
    else:
        resized = mmcv.imrescale(image, (size, size))
    mean, std = np.float32(MEAN), np.float32(STD)  # as mmdet 2.8.0 hands them over
    values = mmcv.imnormalize(resized, mean, std, to_rgb=channels == "rgb")
    height, width = values.shape[:2]
    left, top = ((size - width) // 2, (size - height) // 2) if padding == "centre" else (0, 0)
    sides = (left, top, size - width - left, size - height - top)
    return np.ascontiguousarray(mmcv.impad(values, padding=sides, pad_val=0).transpose(2, 0, 1))


def by_bundle(image, size, channels, padding):
    """The same by the bundle."""
    settings = Preprocess(
        "float32", (Shape(size, size),), (size, size), MEAN, STD, channels, padding
    )
    canvas = Canvas(settings)
    geometry = fit(Picture(1, "", image.shape[1], image.shape[0]), settings)
    Preprocessor(settings).prepare(image.copy(), geometry, canvas)
    return canvas.array[0]


def golden():
    rows = []
    for width, height, size in SHAPES:
        for channels, padding in (("rgb", "centre"), ("bgr", "corner")):
            values = by_mmcv(noise(width, height), size, channels, padding)
            assert values.dtype == np.float32
            assert values.shape == (3, size, size)
            rows.append(
                {
                    "width": width,
                    "height": height,
                    "size": size,
                    "channels": channels,
                    "padding": padding,
                    "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
                }
            )
    made_by = {"mmcv": mmcv.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
    json.dump({"made_by": made_by, "inputs": rows}, sys.stdout, indent=1)
    print()


def compare(folder):
    paths = sorted(Path(folder).iterdir())
    differing = []
    for path in paths:
        image = mmcv.imread(str(path))
        for how in ((1216, "rgb", "centre"), (416, "bgr", "corner")):
            if by_mmcv(image, *how).tobytes() != by_bundle(image, *how).tobytes():
                differing.append([path.name, how])
    json.dump({"pictures": len(paths), "differing": differing}, sys.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "golden":
        golden()
    else:
        compare(sys.argv[2])
