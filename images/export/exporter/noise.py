"""What PyTorch detects when nothing but rounding differs: a picture's noise.

A lowering adds and multiplies in another order than PyTorch does, so its detections differ by
rounding, and how much depends on the weights and the picture. PyTorch itself shows how much, in
runs that are as right as the recorded one: once without mkldnn, whose convolutions and products
sum in another order, and with inputs in which each number is moved to its upper or lower
neighbour at random. docs/export.md says how these were chosen.
"""

import numpy as np
import torch

from . import reference


def names(count):
    """What each of `count` runs changes, in their order."""
    moved = "input moved by one unit in the last place, draw {}"
    return (["mkldnn off"] + [moved.format(draw) for draw in range(count - 1)])[:count]


def runs(model, picture, count):
    """What PyTorch detects in a picture (1,3,H,W) in `count` runs: [(boxes, labels), ...].

    Shapes and types are those of `reference.detect`.
    """
    found = []
    if count > 0:
        with torch.backends.mkldnn.flags(enabled=False):
            found.append(reference.detect(model, picture))
    for draw in range(count - 1):
        found.append(reference.detect(model, nudge(picture, draw)))
    return found


def nudge(picture, draw):
    """The picture with each number moved to its upper or lower neighbour, at random.

    Zeros stay zero: they are the padding, and the neighbours of zero are denormal.
    """
    up = np.random.RandomState(draw).randint(0, 2, picture.shape).astype(bool)
    towards = np.where(up, np.float32(np.inf), np.float32(-np.inf))
    return np.where(picture == 0, picture, np.nextafter(picture, towards)).astype(np.float32)
