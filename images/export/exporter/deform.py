"""Deformable convolution on a CPU, for mmcv modules, inside a `with` block.

mmcv-full 1.2.4 has no CPU kernel for it. torchvision's kernel computes the same operator with the
same channel order of the offsets (y0, x0, y1, x1, ...). So the reference on a CPU comes from a
maintained implementation that shares no code with the graphs that are compared with it.
"""

import contextlib
import importlib

from torchvision.ops import deform_conv2d as torchvision_deform_conv2d


def deform_conv2d(x, offset, weight, stride=1, padding=0, dilation=1, groups=1, deform_groups=1):
    """mmcv's deformable convolution (v1, no mask) with its argument order, on a CPU.

    Shapes: x (N,C,H,W), offset (N,2*deform_groups*kh*kw,Ho,Wo) in pixels, weight
    (O,C/groups,kh,kw); the result is (N,O,Ho,Wo). torchvision derives both kinds of groups from
    the shapes.
    """
    return torchvision_deform_conv2d(
        x, offset, weight, stride=stride, padding=padding, dilation=dilation
    )


@contextlib.contextmanager
def deform_conv_as(function):
    """Makes every mmcv deformable convolution call `function` until the block ends."""
    # `import mmcv.ops.deform_conv` would work here, but other modules are shadowed by functions of
    # the same name (mmcv.ops.nms), so modules are always imported by their path.
    module = importlib.import_module("mmcv.ops.deform_conv")
    original = module.deform_conv2d
    module.deform_conv2d = function
    try:
        yield
    finally:
        module.deform_conv2d = original
