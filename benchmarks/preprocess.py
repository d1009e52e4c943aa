"""Preprocessing to 1216x1216 on one thread, against bare decoding and resizing.

All variants alternate on every picture in every round. A picture's time is the median of its
rounds; ratios are those of the sums over all pictures. Before the timing, the float32 inputs of
both variants are compared bit by bit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from _pictures import pictures

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY)]

from bundle.geometry import PictureGeometry, fit  # noqa: E402
from bundle.job import Picture, Preprocess, Shape  # noqa: E402
from bundle.picture import read_picture  # noqa: E402
from bundle.preprocess import Canvas, Preprocessor  # noqa: E402

SIZE = 1216
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
FLOAT_TARGET, BYTES_TARGET = 2.2, 1.1


def settings_of(dtype: str) -> Preprocess:
    return Preprocess(dtype, (Shape(SIZE, SIZE),), (SIZE, SIZE), MEAN, STD, "rgb", "centre")


def geometry_of(path: Path) -> PictureGeometry:
    height, width = cv2.imread(str(path)).shape[:2]
    return fit(Picture(1, path.name, width, height), settings_of("float32"))


def bare(path: Path, geometry: PictureGeometry) -> np.ndarray:
    """Decode and resize, the unavoidable minimum."""
    image = cv2.imread(str(path))
    return cv2.resize(image, (geometry.resized_width, geometry.resized_height))


def guide(path: Path, geometry: PictureGeometry) -> np.ndarray:
    """The operations of mmcv 1.2.4 in the order of the vendor's guide."""
    image = bare(path, geometry).copy().astype(np.float32)
    mean = np.float64(np.float32(MEAN).reshape(1, -1))
    factor = 1 / np.float64(np.float32(STD).reshape(1, -1))
    cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)
    cv2.subtract(image, mean, image)
    cv2.multiply(image, factor, image)
    right = SIZE - geometry.left - geometry.resized_width
    below = SIZE - geometry.top - geometry.resized_height
    sides = (geometry.top, below, geometry.left, right)
    padded = cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=0)
    return np.ascontiguousarray(padded.transpose(2, 0, 1))[np.newaxis]


def by_bundle(dtype: str) -> Callable[[Path, PictureGeometry], np.ndarray]:
    """The bundle's preprocessing, including its checks of the picture."""
    settings = settings_of(dtype)
    preprocessor, canvas = Preprocessor(settings), Canvas(settings)

    def prepare(path: Path, geometry: PictureGeometry) -> np.ndarray:
        picture = Picture(1, path.name, geometry.width, geometry.height)
        image = read_picture(str(path), picture)
        preprocessor.prepare(image, fit(picture, settings), canvas)
        return canvas.array

    return prepare


def measure(
    ways: dict[str, Callable[[Path, PictureGeometry], object]],
    todo: list[tuple[Path, PictureGeometry]],
    rounds: int,
) -> dict[str, list[float]]:
    """Milliseconds per picture, the median of the rounds."""
    times: dict[str, list[list[float]]] = {name: [[] for _ in todo] for name in ways}
    for _ in range(rounds):
        for index, (path, geometry) in enumerate(todo):
            for name, way in ways.items():
                began = time.perf_counter()
                way(path, geometry)
                times[name][index].append((time.perf_counter() - began) * 1000)
    return {name: [statistics.median(one) for one in rows] for name, rows in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths, what = pictures(Path(folder))
        todo = [(path, geometry_of(path)) for path in paths]
        floats = by_bundle("float32")

        def guide_to_disk(path: Path, geometry: PictureGeometry) -> None:
            guide(path, geometry).tofile(Path(folder) / "one.bin")

        for path, geometry in todo:
            if guide(path, geometry).tobytes() != floats(path, geometry).tobytes():
                print(f"the inputs differ: {path}", file=sys.stderr)
                return 1
        ways: dict[str, Callable[[Path, PictureGeometry], object]] = {
            "bare decode and resize": bare,
            "bundle, uint8 input": by_bundle("uint8"),
            "bundle, float32 input": floats,
            "guide-style, float32 input": guide,
            "guide-style, written to .bin": guide_to_disk,
        }
        result = measure(ways, todo, rounds)

    base = sum(result["bare decode and resize"])
    targets = {"bundle, uint8 input": BYTES_TARGET, "bundle, float32 input": FLOAT_TARGET}
    print(f"## Preprocessing to {SIZE}x{SIZE}, one thread\n")
    print(f"{what}, {rounds} rounds in turn. The float32 inputs are bit-identical.\n")
    print("| | ms per picture | ratio | target |\n| --- | ---: | ---: | --- |")
    for name, times in result.items():
        ratio, target = sum(times) / base, targets.get(name)
        goal = "" if target is None else f"{target}, {'met' if ratio <= target else 'MISSED'}"
        print(f"| {name} | {sum(times) / len(times):.2f} | {ratio:.2f} | {goal} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
