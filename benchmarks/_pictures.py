"""Pictures for benchmarks: real ones if available, else generated ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
REAL = REPOSITORY.parent / "shared" / "data" / "coco26" / "val2017"
# Frequent sizes in COCO val2017.
SIZES = [(640, 480), (640, 427), (480, 640), (640, 425), (500, 375), (427, 640), (640, 640)]


def pictures(folder: Path) -> tuple[list[Path], str]:
    """The pictures and their description for the report; generated ones are written to `folder`."""
    if REAL.is_dir():
        paths = sorted(REAL.glob("*.jpg"))
        return paths, f"{len(paths)} real pictures of COCO val2017"
    paths = []
    random = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        coarse = random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
        grain = random.normal(0, 12, smooth.shape)
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        path = folder / f"{index}.jpg"
        path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
        paths.append(path)
    return paths, f"{len(paths)} generated pictures in COCO's sizes"
