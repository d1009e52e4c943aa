"""From pixels to the network's input: resize, normalise, pad. Bit-identical to mmcv 1.2.4.

mmcv converts to float32, subtracts the mean (in float32), multiplies by 1/std (in float64, rounded
to float32) and pads with zeros (open-mmlab/mmcv v1.2.4, mmcv/image/photometric.py). mmdet passes
it mean and std as float32 (open-mmlab/mmdetection v2.8.0, mmdet/datasets/pipelines/transforms.py).
A channel has only 256 values, so the arithmetic is done once per value, in a lookup table.
"""

from __future__ import annotations

import mmap
import platform
from dataclasses import replace
from typing import Iterator, Optional, Tuple

import cv2
import numpy as np

from bundle.geometry import PictureGeometry
from bundle.job import Preprocess, Shape

# Rows processed at a time: three planes of this height stay in the processor's cache between
# splitting the channels and looking up their values.
_BAND_ROWS = 64
_ON_ARM = platform.machine().lower() in ("aarch64", "arm64")


class Canvas:
    """The memory for one network input, reused for one picture after another.

    Inputs of all shapes share this memory.

    Args:
        settings: The job's.
        memory: What `canvas_memory` gave, if there is some already.

    Attributes:
        array: The input that was prepared last, (1,3,H,W) or (1,H,W,3).
        memory: All of the memory: (n,), shared with child processes.
        region: The part of `array` that the picture covers (left, top, width, height), and the
            shape of `array`; None before the first picture.
    """

    def __init__(self, settings: Preprocess, memory: Optional[np.ndarray] = None) -> None:
        self.memory = canvas_memory(replace(settings, pictures=1)) if memory is None else memory
        count = self.memory.size
        # It is written to now: otherwise the first pictures would pay for allocating its pages, and
        # memory would grow during a pass.
        self.memory.fill(0)
        self._settings = settings
        self.use_shape(settings.shapes[0])
        self.region: Optional[Tuple[int, ...]] = None
        self._resized = np.full(count, 0, np.uint8)
        widest = max(shape.width for shape in settings.shapes)
        self._planes = np.full((3, _BAND_ROWS * widest), 0, np.uint8)

    def use_shape(self, shape: Shape) -> None:
        """Makes `array` an input of that shape. Its content is whatever is in the memory."""
        self.array = view(self.memory, (1,) + self._settings.picture(shape))

    def repeat(self, other: Canvas) -> None:
        """Makes the input of another canvas this one's, too."""
        self.array = view(self.memory, other.array.shape)
        np.copyto(self.array, other.array)
        self.region = other.region

    def move(self, memory: np.ndarray) -> None:
        """Goes on in other memory, which may hold anything."""
        self.memory = memory
        self.region = None

    def resized(self, width: int, height: int) -> np.ndarray:
        """Memory for a resized picture: (height, width, 3) uint8."""
        return self._resized[: width * height * 3].reshape(height, width, 3)

    def plane(self, channel: int, rows: int, width: int) -> np.ndarray:
        """Memory for some rows of one channel: (rows, width) uint8."""
        return self._planes[channel, : rows * width].reshape(rows, width)


def canvas_memory(settings: Preprocess) -> np.ndarray:
    """The memory of a network's input: (n,), shared with processes that are forked from now on.

    It takes none of the machine's memory before it is written to.
    """
    count = max(int(np.prod(settings.batch(shape))) for shape in settings.shapes)
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(settings.dtype).itemsize), settings.dtype)


def view(memory: np.ndarray, shape: Tuple[int, ...]) -> np.ndarray:
    """The beginning of a flat array, in that shape."""
    return memory[: int(np.prod(shape))].reshape(shape)


class Batch:
    """The memory for the pictures that a network takes at once, side by side.

    Args:
        settings: The job's.
        memory: What `canvas_memory` gave.

    Attributes:
        memory: The same.
        canvases: One for each picture.
    """

    def __init__(self, settings: Preprocess, memory: np.ndarray) -> None:
        self.memory = memory
        self._settings = settings
        self._size = memory.size // settings.pictures
        self.canvases = [Canvas(settings, part) for part in self._parts()]

    def use_shape(self, shape: Shape) -> np.ndarray:
        """Lets pictures of this shape lie side by side; returns the network's input."""
        size = int(np.prod(self._settings.picture(shape)))
        # Of one picture, the beginning is the same whatever its shape.
        if size != self._size and len(self.canvases) > 1:
            self._size = size
            for canvas, part in zip(self.canvases, self._parts()):
                canvas.move(part)
        return view(self.memory, self._settings.batch(shape))

    def _parts(self) -> Iterator[np.ndarray]:
        for number in range(self._settings.pictures):
            yield self.memory[number * self._size : (number + 1) * self._size]


class Preprocessor:
    """Prepares pictures. Threads may share it, because it only changes the canvas it is given."""

    def __init__(self, settings: Preprocess) -> None:
        self.settings = settings
        self._tables = [_table(m, s) for m, s in zip(settings.mean, settings.std)]
        self._pad_bytes = pad_bytes(settings)
        # The channel of a BGR picture that becomes the network's channel 0, 1, 2.
        self._order = (2, 1, 0) if settings.channels == "rgb" else (0, 1, 2)

    def prepare(self, image: np.ndarray, geometry: PictureGeometry, canvas: Canvas) -> None:
        """Fills `canvas.array` with the network's input.

        Args:
            image: (height, width, 3) uint8, BGR. It may be overwritten.
            geometry: The picture's position in the input.
            canvas: What to fill. Its `array` gets the shape of the picture's input.
        """
        canvas.use_shape(geometry.shape)
        if self.settings.dtype == "uint8":
            self._prepare_bytes(image, geometry, canvas)
        else:
            self._prepare_floats(image, geometry, canvas)

    def _prepare_floats(self, image: np.ndarray, geometry: PictureGeometry, canvas: Canvas) -> None:
        width, height = geometry.resized_width, geometry.resized_height
        self._clear(geometry, canvas)
        resized = canvas.resized(width, height)
        resize(image, resized)
        for start in range(0, height, _BAND_ROWS):
            rows = min(_BAND_ROWS, height - start)
            top, left = geometry.top + start, geometry.left
            for channel, source in enumerate(self._order):
                plane = canvas.plane(channel, rows, width)
                cv2.extractChannel(resized[start : start + rows], source, plane)
                target = canvas.array[0, channel, top : top + rows, left : left + width]
                cv2.LUT(plane, self._tables[channel], target)

    def _prepare_bytes(self, image: np.ndarray, geometry: PictureGeometry, canvas: Canvas) -> None:
        self._clear(geometry, canvas)
        if self.settings.channels == "rgb":
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)
        resize(image, _inside(canvas.array[0], geometry))

    def _clear(self, geometry: PictureGeometry, canvas: Canvas) -> None:
        """Fills the padding around the picture, unless the last picture had the same."""
        placed = (geometry.left, geometry.top, geometry.resized_width, geometry.resized_height)
        region = placed + geometry.shape
        if canvas.region == region:
            return
        for rows, columns in _around(geometry):
            if self.settings.dtype == "uint8":
                canvas.array[0, rows, columns] = self._pad_bytes
            else:
                canvas.array[0, :, rows, columns] = 0
        canvas.region = region


def pad_bytes(settings: Preprocess) -> np.ndarray:
    """The padding of a uint8 input: (3,) uint8, the mean rounded half up, in the input's order."""
    return np.floor(np.clip(settings.mean, 0, 255) + 0.5).astype(np.uint8)


def resize(image: np.ndarray, target: np.ndarray) -> None:
    """Resizes bilinearly into `target`, a view of shape (height, width, 3) uint8."""
    if image.shape[:2] == (1, 1):
        target[...] = image[0, 0]  # OpenCV 4.5 fails here
        return
    if _ON_ARM:
        resize_portably(image, target)
        return
    height, width = target.shape[:2]
    cv2.resize(image, (width, height), target, interpolation=cv2.INTER_LINEAR)


def resize_portably(image: np.ndarray, target: np.ndarray) -> None:
    """`resize` with the same bits, without what OpenCV's builds for Arm replace.

    There, KleidiCV shrinks pictures of up to four channels with a rounding of its own, up to two
    grey levels off. Pictures of five channels go through OpenCV's own code everywhere, which treats
    each channel alike; only a reduction to exactly half is another code there, and a mean of four
    pixels everywhere.
    """
    height, width = target.shape[:2]
    if image.shape[:2] == (2 * height, 2 * width):
        quads = image.reshape(height, 2, width, 2, 3).sum(axis=(1, 3), dtype=np.uint16)
        target[...] = (quads + 2) >> 2
        return
    five = np.concatenate([image, image[..., :2]], axis=2)
    target[...] = cv2.resize(five, (width, height), interpolation=cv2.INTER_LINEAR)[..., :3]


def _around(geometry: PictureGeometry) -> Tuple[Tuple[slice, slice], ...]:
    """The rows and columns above, below, left and right of the picture."""
    bottom, right = geometry.top + geometry.resized_height, geometry.left + geometry.resized_width
    beside = slice(geometry.top, bottom)
    return (
        (slice(0, geometry.top), slice(None)),
        (slice(bottom, None), slice(None)),
        (beside, slice(0, geometry.left)),
        (beside, slice(right, None)),
    )


def _inside(array: np.ndarray, geometry: PictureGeometry) -> np.ndarray:
    bottom, right = geometry.top + geometry.resized_height, geometry.left + geometry.resized_width
    return array[geometry.top : bottom, geometry.left : right]


def _table(mean: float, std: float) -> np.ndarray:
    """The normalised value of each of a channel's 256 values: (1, 256) float32."""
    values = np.arange(256, dtype=np.float32) - np.float32(mean)
    factor = 1.0 / np.float64(np.float32(std))
    table: np.ndarray = (values.astype(np.float64) * factor).astype(np.float32)[np.newaxis]
    return table
