"""The four neutral operators, where runtimes differ: domain `cascadeport`, version 1.

Each is an autograd function, which torch 1.7 exports as one node. `forward` computes the operator,
so tracing also yields the detections of the traced picture.
docs/architecture.md lists inputs, attributes and outputs.
"""

import torch
from mmcv.ops import roi_align
from torchvision.ops import nms

from .deform import deform_conv2d as cpu_deform_conv2d

DOMAIN = "cascadeport"
VERSION = 1


class DeformConv(torch.autograd.Function):
    """Deformable convolution v1 without bias."""

    @staticmethod
    def forward(ctx, x, offset, weight, stride, padding, dilation, groups, deform_groups):
        return cpu_deform_conv2d(
            x, offset, weight, stride, padding, dilation, groups, deform_groups
        )

    @staticmethod
    def symbolic(g, x, offset, weight, stride, padding, dilation, groups, deform_groups):
        return g.op(
            DOMAIN + "::DeformConv",
            x,
            weight,
            offset,
            strides_i=stride,
            pads_i=(padding[0], padding[1], padding[0], padding[1]),
            dilations_i=dilation,
            groups_i=groups,
            deform_groups_i=deform_groups,
        )


class RoiExtractor(torch.autograd.Function):
    """RoI features, each RoI from its matching pyramid level (mmdet's SingleRoIExtractor)."""

    @staticmethod
    def forward(ctx, settings, rois, *features):
        out = features[0].new_zeros((rois.size(0), features[0].size(1)) + settings["output_size"])
        scale = torch.sqrt((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2]))
        levels = torch.floor(torch.log2(scale / settings["finest_scale"] + 1e-6))
        levels = levels.clamp(min=0, max=len(features) - 1).long()
        for level, (feature, spatial_scale) in enumerate(zip(features, settings["spatial_scales"])):
            chosen = (levels == level).nonzero(as_tuple=False).squeeze(1)
            if chosen.numel():
                out[chosen] = roi_align(
                    feature,
                    rois[chosen],
                    settings["output_size"],
                    spatial_scale,
                    settings["sampling_ratio"],
                    "avg",
                    settings["aligned"],
                )
        return out

    @staticmethod
    def symbolic(g, settings, rois, *features):
        return g.op(
            DOMAIN + "::RoiExtractor",
            *(features + (rois,)),
            output_size_i=settings["output_size"],
            spatial_scales_f=settings["spatial_scales"],
            finest_scale_i=settings["finest_scale"],
            sampling_ratio_i=settings["sampling_ratio"],
            aligned_i=int(settings["aligned"]),
        )


def _kept(boxes, scores, groups, iou_threshold, max_detections):
    """Indices that survive NMS within each group, by descending score."""
    # mmcv keeps groups apart by moving each beyond the largest coordinate of the others. This does
    # the same, with the same rounding, which decides cases near the threshold.
    offsets = groups.to(boxes) * (boxes.max() + 1) if boxes.numel() else groups.to(boxes)
    return nms(boxes + offsets[:, None], scores, iou_threshold)[:max_detections]


class ProposalNMS(torch.autograd.Function):
    """NMS of proposals, within each pyramid level."""

    @staticmethod
    def forward(ctx, boxes, scores, level_ids, iou_threshold, max_detections):
        keep = _kept(boxes, scores, level_ids, iou_threshold, max_detections)
        return torch.cat([boxes[keep], scores[keep, None]], dim=1)

    @staticmethod
    def symbolic(g, boxes, scores, level_ids, iou_threshold, max_detections):
        return g.op(
            DOMAIN + "::ProposalNMS",
            boxes,
            scores,
            level_ids,
            iou_threshold_f=iou_threshold,
            max_detections_i=max_detections,
        )


class MultiClassNMS(torch.autograd.Function):
    """NMS of the detections, within each class."""

    @staticmethod
    def forward(ctx, boxes, scores, score_threshold, iou_threshold, max_detections):
        classes = scores.size(1)
        boxes = boxes.reshape(scores.size(0), -1, 4).expand(-1, classes, 4).reshape(-1, 4)
        labels = torch.arange(classes).expand_as(scores).reshape(-1)
        scores = scores.reshape(-1)
        valid = (scores > score_threshold).nonzero(as_tuple=False).squeeze(1)
        boxes, labels, scores = boxes[valid], labels[valid], scores[valid]
        keep = _kept(boxes, scores, labels, iou_threshold, max_detections)
        return torch.cat([boxes[keep], scores[keep, None]], dim=1), labels[keep]

    @staticmethod
    def symbolic(g, boxes, scores, score_threshold, iou_threshold, max_detections):
        return g.op(
            DOMAIN + "::MultiClassNMS",
            boxes,
            scores,
            score_threshold_f=score_threshold,
            iou_threshold_f=iou_threshold,
            max_detections_i=max_detections,
            outputs=2,
        )
