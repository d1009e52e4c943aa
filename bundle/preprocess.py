"""From pixels to the network's input: resize, normalise, pad. Bit for bit as mmcv 1.2.4 does it.

mmcv converts to float32, subtracts the mean (in float32), multiplies by 1/std (in float64, rounded
to float32) and pads with zeros (open-mmlab/mmcv v1.2.4, mmcv/image/photometric.py); mean and std
come to it as float32 (open-mmlab/mmdetection v2.8.0, mmdet/datasets/pipelines/transforms.py). A
channel has 256 values only, so the arithmetic is done once per value, and pictures are looked up.
"""

from __future__ import annotations

import mmap
from typing import Optional, Tuple

import cv2
import numpy as np

from bundle.geometry import Geometry
from bundle.job import Preprocess, Shape

# Rows handled at a time: a band of three planes stays in the processor's cache between splitting
# and looking up.
_BAND = 64


class Canvas:
    """The memory in which one picture is prepared. It is used again for the next one.

    Inputs of every shape lie in the same memory: `array` is the one that was prepared last.
    """

    def __init__(self, settings: Preprocess) -> None:
        # Memory that child processes share. It is filled now: pages that come with their first use
        # would be paid for by some picture, and memory would creep up while canvases are new.
        count = max(shape.height * shape.width for shape in settings.shapes) * 3
        self.memory = np.frombuffer(
            mmap.mmap(-1, count * np.dtype(settings.dtype).itemsize), settings.dtype
        )
        self.memory.fill(0)
        self._arrays = {
            shape: view(self.memory, settings.batch(shape)) for shape in settings.shapes
        }
        self.array = self._arrays[settings.shapes[0]]
        self.placed: Optional[Tuple[int, ...]] = None
        self._resized = np.full(count, 0, np.uint8)
        widest = max(shape.width for shape in settings.shapes)
        self._planes = np.full((3, _BAND * widest), 0, np.uint8)

    def take(self, shape: Shape) -> None:
        """Makes `array` the input of that shape. It holds whatever the memory held."""
        self.array = self._arrays[shape]

    def resized(self, width: int, height: int) -> np.ndarray:
        """Room for a resized picture: (height, width, 3) uint8."""
        return self._resized[: width * height * 3].reshape(height, width, 3)

    def plane(self, channel: int, rows: int, width: int) -> np.ndarray:
        """Room for a band of one plane: (rows, width) uint8."""
        return self._planes[channel, : rows * width].reshape(rows, width)


def view(memory: np.ndarray, shape: Tuple[int, ...]) -> np.ndarray:
    """The beginning of flat memory as an array of that shape."""
    return memory[: int(np.prod(shape))].reshape(shape)


class Preprocessor:
    """Prepares pictures. Safe to share between threads: what changes is the canvas."""

    def __init__(self, settings: Preprocess) -> None:
        self.settings = settings
        self._tables = [_table(m, s) for m, s in zip(settings.mean, settings.std)]
        self._pad_bytes = pad_bytes(settings)
        # Where the network's channel c is found in a BGR picture.
        self._order = (2, 1, 0) if settings.channels == "rgb" else (0, 1, 2)

    def prepare(self, image: np.ndarray, geometry: Geometry, canvas: Canvas) -> None:
        """Fills `canvas.array` with the network's input.

        Args:
            image: (height, width, 3) uint8, BGR. It may be overwritten.
            geometry: Where the picture goes.
            canvas: What is filled; its `array` gets the shape of the picture's input.
        """
        canvas.take(geometry.shape)
        if self.settings.dtype == "uint8":
            self._prepare_bytes(image, geometry, canvas)
        else:
            self._prepare_floats(image, geometry, canvas)

    def _prepare_floats(self, image: np.ndarray, geometry: Geometry, canvas: Canvas) -> None:
        width, height = geometry.resized_width, geometry.resized_height
        self._clear(geometry, canvas)
        resized = canvas.resized(width, height)
        resize(image, resized)
        for start in range(0, height, _BAND):
            rows = min(_BAND, height - start)
            top, left = geometry.top + start, geometry.left
            for channel, source in enumerate(self._order):
                plane = canvas.plane(channel, rows, width)
                cv2.extractChannel(resized[start : start + rows], source, plane)
                target = canvas.array[0, channel, top : top + rows, left : left + width]
                cv2.LUT(plane, self._tables[channel], target)

    def _prepare_bytes(self, image: np.ndarray, geometry: Geometry, canvas: Canvas) -> None:
        self._clear(geometry, canvas)
        if self.settings.channels == "rgb":
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)
        resize(image, _inside(canvas.array[0], geometry))

    def _clear(self, geometry: Geometry, canvas: Canvas) -> None:
        """Makes what lies around the picture padding. Nothing to do while pictures are alike."""
        place = (geometry.left, geometry.top, geometry.resized_width, geometry.resized_height)
        place += geometry.shape
        if canvas.placed == place:
            return
        for rows, columns in _around(geometry):
            if self.settings.dtype == "uint8":
                canvas.array[0, rows, columns] = self._pad_bytes
            else:
                canvas.array[0, :, rows, columns] = 0
        canvas.placed = place


def pad_bytes(settings: Preprocess) -> np.ndarray:
    """The padding of a uint8 input: (3,) uint8, the mean rounded half up, in the input's order."""
    return np.floor(np.clip(settings.mean, 0, 255) + 0.5).astype(np.uint8)


def resize(image: np.ndarray, target: np.ndarray) -> None:
    """Resizes bilinearly into `target`, a view of shape (height, width, 3) uint8."""
    if image.shape[:2] == (1, 1):
        target[...] = image[0, 0]  # OpenCV 4.5 fails here
        return
    height, width = target.shape[:2]
    cv2.resize(image, (width, height), target, interpolation=cv2.INTER_LINEAR)


def _around(geometry: Geometry) -> Tuple[Tuple[slice, slice], ...]:
    """Rows and columns above, below, left and right of the picture."""
    bottom, right = geometry.top + geometry.resized_height, geometry.left + geometry.resized_width
    beside = slice(geometry.top, bottom)
    return (
        (slice(0, geometry.top), slice(None)),
        (slice(bottom, None), slice(None)),
        (beside, slice(0, geometry.left)),
        (beside, slice(right, None)),
    )


def _inside(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    bottom, right = geometry.top + geometry.resized_height, geometry.left + geometry.resized_width
    return array[geometry.top : bottom, geometry.left : right]


def _table(mean: float, std: float) -> np.ndarray:
    """What each of the 256 values of a channel becomes: (1, 256) float32."""
    values = np.arange(256, dtype=np.float32) - np.float32(mean)
    factor = 1.0 / np.float64(np.float32(std))
    return (values.astype(np.float64) * factor).astype(np.float32)[np.newaxis]
