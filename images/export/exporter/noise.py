"""What PyTorch detects when nothing but rounding differs: a picture's noise.

A lowering adds and multiplies in another order than PyTorch does, so its detections differ by
rounding, and how much depends on the weights and the picture. PyTorch itself shows how much, in
runs that are as right as the recorded one: once without mkldnn, whose convolutions and products
sum in another order, and with inputs in which each number is moved to its upper or lower
neighbour at random, and so are the RPN's scores: near 1 many of them are the same number, and which
of those NMS takes first is nobody's decision. docs/export.md says how these were chosen.
"""

import contextlib

import numpy as np
import torch

from . import reference


def names(count):
    """What each of `count` runs changes, in their order."""
    moved = "input and RPN scores moved by one unit in the last place, draw {}"
    return (["mkldnn off"] + [moved.format(draw) for draw in range(count - 1)])[:count]


def runs(model, picture, count, inside=None):
    """What PyTorch detects in a picture (1,3,H,W) in `count` runs: [(boxes, labels), ...].

    Shapes, types and `inside` are those of `reference.detect`.
    """
    found = []
    if count > 0:
        with torch.backends.mkldnn.flags(enabled=False):
            found.append(reference.detect(model, picture, inside))
    for draw in range(count - 1):
        with sigmoid_moved(draw):
            found.append(reference.detect(model, nudge(picture, draw), inside))
    return found


@contextlib.contextmanager
def sigmoid_moved(draw):
    """Until the block ends, values of sigmoid are moved to their neighbours, at random.

    mmdet's RPN makes its scores with it, and nothing else here calls it.
    """
    original = torch.Tensor.sigmoid
    random = torch.Generator().manual_seed(draw)

    def moved(tensor):
        values = original(tensor)
        up = torch.randint(0, 2, values.shape, generator=random).bool()
        towards = torch.where(up, torch.ones_like(values) * 2, -torch.ones_like(values))
        return torch.from_numpy(np.nextafter(values.numpy(), towards.numpy()))

    torch.Tensor.sigmoid = moved
    try:
        yield
    finally:
        torch.Tensor.sigmoid = original


def nudge(picture, draw):
    """The picture with each number moved to its upper or lower neighbour, at random.

    Zeros stay zero: they are the padding, and the neighbours of zero are denormal.
    """
    up = np.random.RandomState(draw).randint(0, 2, picture.shape).astype(bool)
    towards = np.where(up, np.float32(np.inf), np.float32(-np.inf))
    return np.where(picture == 0, picture, np.nextafter(picture, towards)).astype(np.float32)
