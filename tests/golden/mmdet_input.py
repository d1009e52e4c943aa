"""The network's input as mmdet 2.8.0's own pipeline makes it at 1333x800. Runs in .venv-export.

`mmdet_input.py golden` prints the digests that are committed as preprocess_mmdet.json.
`mmdet_input.py compare FOLDER` prints how many pictures of a folder were compared, and the names of
those whose input the bundle makes differently.

mmdet pads each picture to multiples of 32 of its own; a network of a fixed shape needs the rest
padded as well. So what mmdet made is laid into zeros of that shape.
"""

import hashlib
import json
import sys
from pathlib import Path

import cv2
import mmcv
import mmdet
import numpy as np
from mmdet.datasets.pipelines import Compose

from bundle.geometry import fit
from bundle.job import Picture, Preprocess, Shape
from bundle.preprocess import Canvas, Preprocessor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SHAPES, RESIZE = ((800, 1344), (1344, 800)), (1333, 800)
# (width, height): both orientations, limited by the short edge and by the long one, reduced,
# enlarged, as it is, odd, square, and at the ratio where both edges limit.
PICTURES = [
    (640, 480),
    (480, 640),
    (640, 360),
    (333, 640),
    (500, 375),
    (1999, 1501),
    (1333, 800),
    (800, 1333),
    (1332, 801),
    (427, 427),
    (61, 47),
    (1500, 90),
]


def noise(width, height):
    """Bytes that depend on nothing but the size: (height, width, 3) uint8."""
    count = np.arange(width * height * 3, dtype=np.uint64)
    mixed = (count * np.uint64(2654435761) + np.uint64(width * 40503 + height)) % np.uint64(1 << 32)
    return (mixed >> np.uint64(24)).astype(np.uint8).reshape(height, width, 3)


def by_mmdet(image):
    """mmdet's test pipeline, from the decoded picture on: (3,H,W) float32."""
    pipeline = Compose(
        [
            {"type": "Resize", "img_scale": RESIZE, "keep_ratio": True},
            {"type": "Normalize", "mean": list(MEAN), "std": list(STD), "to_rgb": True},
            {"type": "Pad", "size_divisor": 32},
        ]
    )
    results = {
        "img": image,
        "img_shape": image.shape,
        "ori_shape": image.shape,
        "img_fields": ["img"],
        "filename": "",
    }
    values = pipeline(results)["img"].transpose(2, 0, 1)
    for height, width in SHAPES:
        if values.shape[1] <= height and values.shape[2] <= width:
            whole = np.zeros((3, height, width), np.float32)
            whole[:, : values.shape[1], : values.shape[2]] = values
            return whole
    raise ValueError(f"mmdet's input of {values.shape} fits nowhere")


def by_bundle(image):
    """The same by the bundle."""
    shapes = tuple(Shape(*shape) for shape in SHAPES)
    settings = Preprocess("float32", shapes, RESIZE, MEAN, STD, "rgb", "corner")
    canvas = Canvas(settings)
    geometry = fit(Picture(1, "", image.shape[1], image.shape[0]), settings)
    Preprocessor(settings).prepare(image.copy(), geometry, canvas)
    return canvas.array[0]


def golden():
    rows = []
    for width, height in PICTURES:
        values = by_mmdet(noise(width, height))
        assert values.dtype == np.float32
        rows.append(
            {
                "width": width,
                "height": height,
                "shape": list(values.shape[1:]),
                "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
            }
        )
    made_by = {
        "mmdet": mmdet.__version__,
        "mmcv": mmcv.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
    print(json.dumps({"made_by": made_by, "inputs": rows}, indent=1))


def compare(folder):
    paths = sorted(Path(folder).iterdir())
    images = [(path.name, mmcv.imread(str(path))) for path in paths]
    differing = [
        name for name, image in images if by_mmdet(image).tobytes() != by_bundle(image).tobytes()
    ]
    print(json.dumps({"pictures": len(paths), "differing": differing}))


if __name__ == "__main__":
    if sys.argv[1] == "golden":
        golden()
    else:
        compare(sys.argv[2])
