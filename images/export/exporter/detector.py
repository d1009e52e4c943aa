"""An mmdet Cascade R-CNN as a function of one picture, without branches on its content.

A trace of mmdet's own inference is wrong for other pictures: it splits by the traced number of
proposals, subtracts in place before NMS, and stops early when nothing is found. This module calls
the same sub-networks with the same weights and reimplements the steps between them, with the four
neutral operators where runtimes differ. Every export is compared with mmdet's unchanged inference.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .deform import deform_conv_as
from .operators import DeformConv, MultiClassNMS, ProposalNMS, RoiExtractor


def _pair(value):
    return (int(value), int(value)) if isinstance(value, int) else tuple(int(v) for v in value)


def neutral_deform_conv2d(
    x, offset, weight, stride=1, padding=0, dilation=1, groups=1, deform_groups=1
):
    """mmcv's `deform_conv2d`, as a neutral operator."""
    return DeformConv.apply(
        x, offset, weight, _pair(stride), _pair(padding), _pair(dilation), groups, deform_groups
    )


def decode(boxes, deltas, coder, shape):
    """Moves boxes by the network's deltas and clips them to the network's input.

    Shapes: boxes (N,4) and deltas (N,4*C) -> (N,4*C), in network pixels. The arithmetic is
    mmdet's `delta2bbox`, operation by operation; only the layout differs: coordinates come
    first, so that selecting one is a slice of the first axis, which is cheap on every runtime (a
    slice of the last axis is expensive on an NPU).
    """
    classes = int(deltas.size(1)) // 4
    deltas = deltas.reshape(-1, classes, 4).permute(2, 0, 1)
    boxes = boxes.t().unsqueeze(2)
    deltas = deltas * torch.tensor(coder.stds).reshape(4, 1, 1)
    if any(coder.means):
        deltas = deltas + torch.tensor(coder.means).reshape(4, 1, 1)
    limit = float(np.abs(np.log(16 / 1000)))
    size = deltas[2:4].clamp(min=-limit, max=limit).exp() * (boxes[2:4] - boxes[0:2])
    centre = (boxes[0:2] + boxes[2:4]) * 0.5 + (boxes[2:4] - boxes[0:2]) * deltas[0:2]
    corners = torch.cat([centre - size * 0.5, centre + size * 0.5], dim=0)
    if coder.clip_border:
        height, width = shape
        xs = corners[0::2].clamp(min=0, max=width)
        ys = corners[1::2].clamp(min=0, max=height)
        corners = torch.cat([xs[0:1], ys[0:1], xs[1:2], ys[1:2]], dim=0)
    return corners.permute(1, 2, 0).reshape(-1, 4 * classes)


class Detector(nn.Module):
    """`forward`: picture (1,3,H,W), normalised -> boxes (n,5) in network pixels, labels (n)."""

    def __init__(self, model, shape):
        super().__init__()
        self.model = model
        self.shape = shape
        generator = model.rpn_head.anchor_generator
        self.sizes = [
            (-(-shape[0] // stride[1]), -(-shape[1] // stride[0])) for stride in generator.strides
        ]
        # The anchors of a cell and the cells' positions, not their sum: a third of the bytes.
        for level, anchors in enumerate(generator.grid_anchors(self.sizes, device="cpu")):
            base = generator.base_anchors[level]
            self.register_buffer("base_%d" % level, base[None])
            # Positions are whole pixels: rounding undoes the rounding of the sum.
            cells = (anchors[:: len(base), None] - base[:1, None]).round()
            self.register_buffer("cells_%d" % level, cells)

    def forward(self, picture):
        with deform_conv_as(neutral_deform_conv2d), nearest_by_two():
            features = self.model.extract_feat(picture)
        return self.detect(features, self.propose(features))

    def propose(self, features):
        """The pyramid -> proposals (n,5) by descending score (mmdet's RPNHead)."""
        head, cfg = self.model.rpn_head, self.model.rpn_head.test_cfg
        anchors, deltas, scores, levels = [], [], [], []
        for level, (cls, reg) in enumerate(zip(*head(features))):
            assert tuple(int(n) for n in cls.shape[-2:]) == self.sizes[level]
            cls = cls.permute(0, 2, 3, 1).reshape(-1).sigmoid()
            reg = reg.permute(0, 2, 3, 1).reshape(-1, 4)
            anchor = getattr(self, "cells_%d" % level) + getattr(self, "base_%d" % level)
            anchor = anchor.reshape(-1, 4)
            count = anchor.size(0)
            if 0 < cfg.nms_pre < count:
                count = cfg.nms_pre
                cls, best = cls.topk(count)
                reg, anchor = reg.index_select(0, best), anchor.index_select(0, best)
            anchors.append(anchor)
            deltas.append(reg)
            scores.append(cls)
            levels += [level] * count
        boxes = decode(torch.cat(anchors), torch.cat(deltas), head.bbox_coder, self.shape)
        return ProposalNMS.apply(
            boxes, torch.cat(scores), torch.tensor(levels), float(cfg.nms_thr), int(cfg.nms_post)
        )

    def detect(self, features, proposals):
        """The pyramid and proposals (n,5) -> boxes (n,5), labels (n) (mmdet's CascadeRoIHead)."""
        roi_head, cfg = self.model.roi_head, self.model.roi_head.test_cfg
        picture_index = proposals[:, 4:5] * 0  # one picture: its index is 0
        boxes = proposals[:, 0:4]
        logits = 0
        for stage in range(roi_head.num_stages):
            extractor, head = roi_head.bbox_roi_extractor[stage], roi_head.bbox_head[stage]
            layer = extractor.roi_layers[0]
            settings = {
                "output_size": _pair(layer.output_size),
                "spatial_scales": tuple(layer.spatial_scale for layer in extractor.roi_layers),
                "finest_scale": int(extractor.finest_scale),
                "sampling_ratio": int(layer.sampling_ratio),
                "aligned": bool(layer.aligned),
            }
            rois = torch.cat([picture_index, boxes], dim=1)
            crops = RoiExtractor.apply(settings, rois, *features[: extractor.num_inputs])
            cls, reg = head(crops)
            logits = logits + cls
            if stage < roi_head.num_stages - 1 and not head.reg_class_agnostic:
                best = cls[:, :-1].argmax(dim=1, keepdim=True) * 4
                reg = reg.gather(1, torch.cat([best + i for i in range(4)], dim=1))
            boxes = decode(boxes, reg, head.bbox_coder, self.shape)
        scores = F.softmax(logits / float(roi_head.num_stages), dim=1)[:, :-1]
        return MultiClassNMS.apply(
            boxes,
            scores,
            float(cfg.score_thr),
            float(cfg.nms.get("iou_threshold", cfg.nms.get("iou_thr"))),
            int(cfg.max_per_img),
        )


class nearest_by_two:
    """Until the block ends, nearest upsampling to a size becomes upsampling by an integer factor.

    For sides that are multiples of 32 the result is the same, with one constant in the graph
    instead of a chain of shape arithmetic.
    """

    def __enter__(self):
        self.original = F.interpolate

        def interpolate(input, size=None, scale_factor=None, mode="nearest", **options):
            if size is not None and mode == "nearest":
                factors = [int(n) / int(m) for n, m in zip(size, input.shape[2:])]
                if all(f == int(f) for f in factors):
                    size, scale_factor = None, factors
            return self.original(input, size=size, scale_factor=scale_factor, mode=mode, **options)

        F.interpolate = interpolate

    def __exit__(self, *_):
        F.interpolate = self.original
