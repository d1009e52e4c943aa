"""Preprocesses pictures for the network with mmcv's own operations."""

import glob
import os

import mmcv
import numpy as np

from .errors import ExportError


def find(patterns):
    """The picture files of paths and glob patterns, in order and without duplicates."""
    found = []
    for pattern in patterns:
        files = [pattern] if os.path.isfile(pattern) else sorted(glob.glob(pattern))
        if not files:
            raise ExportError("No picture matches.", where=pattern, next="Check --pictures.")
        found += [file for file in files if file not in found]
    return found


def read(path, shape, normalisation, padding="centre"):
    """A picture file -> float32 (1,3,H,W): decode, resize to fit, normalise, pad with zeros.

    The ratio of the sides is kept; `padding` is `centre` (left (W-w)//2, top (H-h)//2) or
    `corner` (right and below).
    """
    picture = mmcv.imread(path)
    if picture is None:
        raise ExportError("The picture cannot be decoded.", where=path)
    return prepare(picture, shape, normalisation, padding)


def prepare(picture, shape, normalisation, padding="centre"):
    """BGR bytes (h,w,3) -> float32 (1,3,H,W); see `read`."""
    height, width = shape
    mean, std, to_rgb = normalisation
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = [max(1, int(side * scale + 0.5)) for side in picture.shape[1::-1]]
    picture = mmcv.imresize(picture, tuple(size))
    picture = mmcv.imnormalize(picture, np.float32(mean), np.float32(std), to_rgb)
    rest_x, rest_y = width - picture.shape[1], height - picture.shape[0]
    left, top = (rest_x // 2, rest_y // 2) if padding == "centre" else (0, 0)
    picture = mmcv.impad(picture, padding=(left, top, rest_x - left, rest_y - top), pad_val=0)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def quiet(shape, normalisation):
    """Pictures in which a detector should find nothing, as (name, float32 (1,3,H,W)).

    Faint noise, not a flat colour: with equal scores everywhere, the order of proposals would be
    arbitrary.
    """
    draw = np.random.RandomState(0)
    for name, level, spread in [("grey", 118, 2), ("dark", 16, 1), ("light", 235, 1)]:
        noise = draw.normal(level, spread, (shape[0], shape[1], 3)).clip(0, 255)
        yield "quiet " + name, prepare(noise.astype(np.uint8), shape, normalisation)
