"""What CANN's kernels compute differently from PyTorch, release by release.

Data for the reference executor, from images/ascend/cann.toml. The stand-in for atc reads it too,
with the image's Python: no pydantic here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arithmetic:
    """How one release of CANN computes NMS and RoIs. docs/lowering.md names the sources.

    Args:
        nms: The precision of boxes and scores in NMS: `fp16` or `fp32`.
        iou_factor: What NMS multiplies boxes by before it computes overlaps; 1.0: nothing.
        whole_pixels: Whether NMS moves the far corner in by one and out again, so that areas count
            whole pixels, both corners included.
        empty_boxes: Whether boxes without area take part in NMS.
        thin_rois: Whether RoIs thinner than a cell of their level are widened to one.
    """

    nms: str = "fp16"
    iou_factor: float = 0.1
    whole_pixels: bool = True
    empty_boxes: bool = True
    thin_rois: bool = True
