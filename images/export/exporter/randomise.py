"""Random weights that behave like trained ones, for work on throughput and parity.

With plain random weights, activations vanish or explode and nothing is detected. So a picture is
run while every layer is scaled according to its input (layer-sequential unit variance, Mishkin
and Matas, arXiv:1511.06422): batch norms get their statistics, offsets of deformable convolutions
spread over a pixel, proposals overlap, and class scores spread so far that a picture with content
gets about a hundred detections and a picture without content gets none.
"""

import contextlib

import numpy as np
import torch
from torch import nn

from . import reference
from .errors import ExportError

#: (end of a layer's name, mean, standard deviation) of the layer's output; the first match counts.
SPREAD = (
    ("conv_offset", 0.0, 0.25),  # pixels
    ("rpn_cls", -1.0, 1.5),  # logits
    ("rpn_reg", 0.0, 0.25),  # deltas
    ("fc_cls", 0.0, 2.5),  # logits
    ("fc_reg", 0.0, 0.5),  # deltas
    ("", 0.0, 1.0),
)
#: In a quiet picture, every class score must stay below this share of the score threshold.
QUIET = 0.5


def randomise(model, seed, picture, quiet):
    """Gives `model` calibrated random weights.

    Filters sum to zero and batch norms map zero to zero, so a picture without content has no
    activations in a hundred layers, except at its edges.

    Args:
        picture: float32 (1,3,H,W) with content, the calibration picture.
        quiet: float32 (1,3,H,W) without content, in which nothing must be found.
    """
    torch.manual_seed(seed)
    norms = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)
    }
    with torch.no_grad():
        for module in model.modules():
            norm = isinstance(module, nn.BatchNorm2d)
            if not norm and getattr(module, "weight", None) is not None:
                nn.init.kaiming_normal_(module.weight, mode="fan_in")
                if getattr(module, "bias", None) is not None:
                    module.bias.zero_()
        for name, norm in norms.items():
            # Small residual branches, as in trained networks: a block then adds little to its
            # input, and little to a rounding error in it.
            low, high = (0.1, 0.3) if name.endswith("bn3") else (0.5, 1.0)
            norm.weight.uniform_(low, high)
            norm.bias.normal_(0, 0.1)
    layers = [head.fc_cls for head in model.roi_head.bbox_head]
    with _recorded_inputs(layers) as busy:
        _calibrate(model, norms.values(), picture)
    with _recorded_inputs(layers) as silent:
        reference.detect(model, quiet)
    with torch.no_grad():
        _separate_background(model, layers, busy, silent)


def _calibrate(model, norms, picture):
    handles = [norm.register_forward_pre_hook(_measure) for norm in norms]
    for name, module in model.named_modules():
        bare = isinstance(module, nn.Linear) or (
            # A convolution before a batch norm needs no scaling: the norm does it.
            isinstance(module, nn.Conv2d) and module.bias is not None
        )
        if bare:
            mean, std = next(entry[1:] for entry in SPREAD if name.endswith(entry[0]))
            handles.append(module.register_forward_hook(_Standardise(mean, std)))
    try:
        reference.detect(model, picture)
    finally:
        for handle in handles:
            handle.remove()


def _measure(norm, inputs):
    """A pre-hook of a batch norm: sets its statistics to those of its input."""
    power = inputs[0].pow(2).mean(dim=(0, 2, 3))
    norm.running_var.copy_(power + 1e-3 * power.mean())
    norm.running_mean.copy_(norm.bias * (norm.running_var + norm.eps).sqrt() / norm.weight)


class _Standardise:
    """A forward hook: at the first call, scales a layer to a mean and a standard deviation."""

    def __init__(self, mean, std):
        self.mean, self.std, self.done = mean, std, False

    def __call__(self, module, inputs, output):
        if self.done:
            return None
        self.done = True
        factor = self.std / float(output.std().clamp(min=1e-6))
        with torch.no_grad():
            module.weight.mul_(factor)
            module.bias.fill_(self.mean)
        return output * factor + self.mean


@contextlib.contextmanager
def _recorded_inputs(layers):
    """The input of each call of `layers`, in the order of the calls."""
    inputs = []
    handles = [
        layer.register_forward_pre_hook(lambda module, given: inputs.append(given[0].clone()))
        for layer in layers
    ]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def _separate_background(model, layers, busy, silent):
    """Sets the background class's weights so that they separate quiet pictures from others.

    Least squares on the features of both pictures' proposals: the background's logit is 0 for
    those of the busy one and as high as necessary for those of the quiet one.
    """
    directions = [_separate(quiet, content) for quiet, content in zip(silent, busy)]

    def logits(features, strength):
        total = 0
        for layer, rows, (weight, bias) in zip(layers, features, directions):
            output = layer(rows)
            output[:, -1] = (rows.matmul(weight) + bias) * strength
            total = total + output
        return total / len(layers)

    threshold = model.roi_head.test_cfg.score_thr
    strengths = [
        float(strength)
        for strength in np.arange(0, 60, 0.5)
        if logits(silent, strength).softmax(dim=1)[:, :-1].max() < QUIET * threshold
    ]
    strength = strengths[0] if strengths else 0.0
    found = int((logits(busy, strength).softmax(dim=1)[:, :-1] > threshold).sum())
    if not strengths or found < 100:
        raise ExportError(
            "Random weights of this seed cannot separate a picture with content from a quiet one.",
            next="Use another seed, or a first picture with more content.",
        )
    for layer, (weight, bias) in zip(layers, directions):
        layer.weight[-1] = weight * strength
        layer.bias[-1] = bias * strength


def _separate(ones, zeros, ridge=1e-4):
    """Weight and bias of the linear function nearest to 1 on `ones` and to 0 on `zeros`."""
    features = torch.cat([ones, zeros]).numpy().astype(np.float64)
    target = np.concatenate([np.ones(len(ones)), np.zeros(len(zeros))])
    centre, level = features.mean(axis=0), target.mean()
    centred = features - centre
    gram = centred.T.dot(centred)
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    weight = np.linalg.solve(gram, centred.T.dot(target - level))
    return torch.from_numpy(np.float32(weight)), float(level - weight.dot(centre))
