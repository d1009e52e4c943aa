"""Traces the detector on one picture and writes the neutral graph."""

import os
import warnings

import torch

from .detector import Detector
from .operators import DOMAIN, VERSION

OPSET = 11


def export(model, picture, path):
    """Writes `path` from one picture (1,3,H,W); returns what the traced function detected.

    Outputs `boxes` (n,5) and `labels` (n) have a free length; the input's shape is fixed.
    """
    detector = Detector(model, picture.shape[2:]).eval()
    found = []
    # The traced call's result is needed too; a second call would cost as much as the first.
    detector.register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.no_grad(), warnings.catch_warnings():
        # "Converting a tensor to a Python integer" is intended: shapes are fixed.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            detector,
            (torch.from_numpy(picture),),
            path,
            input_names=["input"],
            output_names=["boxes", "labels"],
            dynamic_axes={"boxes": {0: "detections"}, "labels": {0: "detections"}},
            opset_version=OPSET,
            custom_opsets={DOMAIN: VERSION},
            # Lowerings fold constants; here that would only triple the anchors' bytes on disk.
            do_constant_folding=False,
            keep_initializers_as_inputs=False,
            enable_onnx_checker=False,  # torch's checker does not know the neutral operators
        )
    boxes, labels = found[0]
    return boxes.numpy(), labels.numpy(), os.path.getsize(path)
