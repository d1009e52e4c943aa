"""The demo: a small Cascade R-CNN with FPN and deformable convolutions in c3-c5, 256x256.

The same structure as the R101 (cascade_r101_dcn.py) with few channels: a bottleneck ResNet-50 of
base width 12, an FPN of 40 channels, three heads with two layers of 64. 8 classes of drawn shapes.
"""

norm_cfg = dict(type="BN", requires_grad=True)


def _head(stds):
    return dict(
        type="Shared2FCBBoxHead",
        in_channels=40,
        fc_out_channels=64,
        roi_feat_size=7,
        num_classes=8,
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=stds),
        reg_class_agnostic=True,
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
    )


def _stage(iou):
    return dict(
        assigner=dict(
            type="MaxIoUAssigner",
            pos_iou_thr=iou,
            neg_iou_thr=iou,
            min_pos_iou=iou,
            match_low_quality=False,
            ignore_iof_thr=0.5,
        ),
        sampler=dict(
            type="RandomSampler",
            num=128,
            pos_fraction=0.25,
            neg_pos_ub=-1,
            add_gt_as_proposals=True,
        ),
        pos_weight=-1,
        debug=False,
    )


model = dict(
    type="CascadeRCNN",
    pretrained=None,
    backbone=dict(
        type="ResNet",
        depth=50,
        base_channels=12,
        stem_channels=16,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        dcn=dict(type="DCN", deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    ),
    neck=dict(type="FPN", in_channels=[48, 96, 192, 384], out_channels=40, num_outs=5),
    rpn_head=dict(
        type="RPNHead",
        in_channels=40,
        feat_channels=40,
        anchor_generator=dict(
            type="AnchorGenerator", scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0 / 9.0, loss_weight=1.0),
    ),
    roi_head=dict(
        type="CascadeRoIHead",
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
            out_channels=40,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=[
            _head([0.1, 0.1, 0.2, 0.2]),
            _head([0.05, 0.05, 0.1, 0.1]),
            _head([0.033, 0.033, 0.067, 0.067]),
        ],
    ),
)

train_cfg = dict(
    rpn=dict(
        assigner=dict(
            type="MaxIoUAssigner",
            pos_iou_thr=0.7,
            neg_iou_thr=0.3,
            min_pos_iou=0.3,
            match_low_quality=True,
            ignore_iof_thr=0.5,
        ),
        sampler=dict(
            type="RandomSampler",
            num=128,
            pos_fraction=0.5,
            neg_pos_ub=-1,
            add_gt_as_proposals=False,
        ),
        allowed_border=0,
        pos_weight=-1,
        debug=False,
    ),
    rpn_proposal=dict(
        nms_across_levels=False,
        nms_pre=300,
        nms_post=300,
        max_num=300,
        nms_thr=0.7,
        min_bbox_size=0,
    ),
    rcnn=[_stage(0.5), _stage(0.6), _stage(0.7)],
)

test_cfg = dict(
    rpn=dict(
        nms_across_levels=False,
        nms_pre=300,
        nms_post=300,
        max_num=300,
        nms_thr=0.7,
        min_bbox_size=0,
    ),
    rcnn=dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=100),
)

img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
