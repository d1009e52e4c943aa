"""Builds the detector of an mmdet 2.8.0 config, and rejects what cannot be exported."""

import os

import mmcv
from mmcv import ops as mmcv_ops
from mmdet.models import build_detector

from .errors import ExportError

#: Every stride of ResNet and FPN up to P5 divides this.
MULTIPLE = 32


def check_shape(height, width):
    """Raises ExportError unless both sides are positive multiples of 32."""
    wrong = [side for side in (height, width) if side <= 0 or side % MULTIPLE]
    if wrong:
        near = [max(MULTIPLE, int(round(side / MULTIPLE)) * MULTIPLE) for side in (height, width)]
        raise ExportError(
            "The network's input of {} x {} (height x width) cannot be halved five times: each "
            "side must be a multiple of {}.".format(height, width, MULTIPLE),
            where="--shape {} {}".format(height, width),
            next="The nearest shape is {} x {}.".format(*near),
        )


def load_config(path):
    """Reads an mmdet config; any error in it is an ExportError."""
    if not os.path.isfile(path):
        raise ExportError("The config does not exist.", where=path, next="Check --config.")
    try:
        with open(path, encoding="utf-8") as file:
            # mmcv compiles a copy in a temporary folder, and is noisy when that fails.
            compile(file.read(), path, "exec")
        cfg = mmcv.Config.fromfile(path)
    except Exception as error:  # a config is Python code: it can raise anything
        raise ExportError(
            "The config cannot be read: {}: {}".format(type(error).__name__, error), where=path
        ) from error
    if cfg.get("model", {}).get("type") != "CascadeRCNN":
        raise ExportError(
            "The config describes {!r}; this exporter supports CascadeRCNN.".format(
                cfg.get("model", {}).get("type")
            ),
            where=path,
        )
    return cfg


def normalisation(cfg):
    """(mean, std, to_rgb) of the config: from `img_norm_cfg` or the test pipeline."""
    found = cfg.get("img_norm_cfg")
    if not found:
        steps = list(cfg.get("test_pipeline") or [])
        while steps and not found:
            step = steps.pop(0)
            steps += step.get("transforms", [])
            found = step if step.get("type") == "Normalize" else None
    if not found:
        raise ExportError(
            "The config does not say how pictures are normalised.",
            next="Add img_norm_cfg = dict(mean=..., std=..., to_rgb=True).",
        )
    return list(found["mean"]), list(found["std"]), bool(found.get("to_rgb", True))


def build(cfg):
    """The detector of a config, in evaluation mode, with mmdet's initial weights."""
    cfg.model.pretrained = None
    test_cfg = cfg.get("test_cfg")
    if test_cfg is None:
        test_cfg = cfg.model.pop("test_cfg", None)
    cfg.model.pop("train_cfg", None)
    try:
        model = build_detector(cfg.model, train_cfg=None, test_cfg=test_cfg)
    except (KeyError, TypeError, AttributeError, AssertionError, NotImplementedError) as error:
        raise ExportError(
            "mmdet cannot build this config: {}: {}".format(type(error).__name__, error),
            where=cfg.filename or "",
        ) from error
    model.cpu().eval()
    check_exportable(model)
    return model


def check_exportable(model):
    """Raises ExportError naming the first module without an equivalent in the neutral graph."""
    known = (mmcv_ops.DeformConv2d, mmcv_ops.RoIAlign)
    for name, module in model.named_modules():
        foreign = type(module).__module__.startswith("mmcv.ops.") and not isinstance(module, known)
        if foreign:
            raise ExportError(
                "The config uses {}, an operator that no lowering supports.".format(
                    type(module).__name__
                ),
                where=name,
                next="Deformable convolution v1 (type 'DCN') and RoIAlign are supported.",
            )

    def require(condition, what, where):
        if not condition:
            raise ExportError("The exporter does not support " + what + ".", where=where)

    rpn, roi = model.rpn_head, model.roi_head
    require(not roi.with_mask, "mask heads", "roi_head.mask_head")
    require(rpn.use_sigmoid_cls, "an RPN with softmax", "rpn_head.loss_cls")
    rpn_cfg, rcnn_cfg = rpn.test_cfg, roi.test_cfg
    require(rpn_cfg is not None and rcnn_cfg is not None, "configs without test_cfg", "test_cfg")
    require(rpn_cfg.get("min_bbox_size", 0) == 0, "min_bbox_size above 0", "test_cfg.rpn")
    require(rpn_cfg.get("nms_post", 0) > 0, "an RPN without nms_post", "test_cfg.rpn")
    require(rcnn_cfg.nms.get("type", "nms") == "nms", "this NMS", "test_cfg.rcnn.nms")
    require(not rcnn_cfg.nms.get("class_agnostic"), "NMS across classes", "test_cfg.rcnn.nms")
    require(rcnn_cfg.get("max_per_img", -1) > 0, "unlimited detections", "test_cfg.rcnn")
    for index, extractor in enumerate(roi.bbox_roi_extractor):
        where = "roi_head.bbox_roi_extractor.%d" % index
        kind = type(extractor).__name__
        require(kind == "SingleRoIExtractor", "the RoI extractor " + kind, where)
        for layer in extractor.roi_layers:
            require(layer.pool_mode == "avg", "RoIAlign with maximum pooling", where)
