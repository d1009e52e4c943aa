"""Random weights that behave like trained ones, for work on speed and parity.

Weights drawn at random let activations die or explode and detect nothing. So one picture is
sent through while every layer is scaled by what it sees (layer-sequential unit variance,
Mishkin and Matas, arXiv:1511.06422): batch norms learn their statistics, offsets of deformable
convolutions spread over a pixel, proposals overlap, and class scores spread far enough that a
picture with content gets about a hundred detections and a picture without any gets none.
"""

import contextlib

import numpy as np
import torch
from torch import nn

from . import reference
from .errors import ExportError

#: (end of a layer's name, mean, standard deviation) of the layer's output; the first that fits.
SPREAD = (
    ("conv_offset", 0.0, 0.25),  # pixels
    ("rpn_cls", -1.0, 1.5),  # logits
    ("rpn_reg", 0.0, 0.25),  # deltas
    ("fc_cls", 0.0, 2.5),  # logits
    ("fc_reg", 0.0, 0.5),  # deltas
    ("", 0.0, 1.0),
)
#: No class of a quiet picture may come nearer to the score threshold than this share of it.
QUIET = 0.5


def randomise(model, seed, picture, quiet):
    """Gives `model` calibrated random weights.

    Nothing in, nothing out: filters sum to zero and batch norms map zero to zero, so a picture
    without content stays without content through a hundred layers, up to its edges.

    Args:
        picture: float32 (1,3,H,W) with content, the calibration picture.
        quiet: float32 (1,3,H,W) in which nothing shall be found.
    """
    torch.manual_seed(seed)
    norms = {name: each for name, each in model.named_modules() if isinstance(each, nn.BatchNorm2d)}
    with torch.no_grad():
        for module in model.modules():
            norm = isinstance(module, nn.BatchNorm2d)
            if not norm and getattr(module, "weight", None) is not None:
                nn.init.kaiming_normal_(module.weight, mode="fan_in")
                if getattr(module, "bias", None) is not None:
                    module.bias.zero_()
        for name, norm in norms.items():
            # Small residual branches, as in trained networks: each block then adds little to
            # what it passes on, and little to a rounding error in it.
            low, high = (0.1, 0.3) if name.endswith("bn3") else (0.5, 1.0)
            norm.weight.uniform_(low, high)
            norm.bias.normal_(0, 0.1)
    layers = [head.fc_cls for head in model.roi_head.bbox_head]
    with _overheard(layers) as loud:
        _calibrate(model, norms.values(), picture)
    with _overheard(layers) as silent:
        reference.detect(model, quiet)
    with torch.no_grad():
        _silence(model, layers, loud, silent)


def _calibrate(model, norms, picture):
    handles = [norm.register_forward_pre_hook(_measure) for norm in norms]
    for name, module in model.named_modules():
        bare = isinstance(module, nn.Linear) or (
            # A convolution before a batch norm needs no scaling: the norm does it.
            isinstance(module, nn.Conv2d) and module.bias is not None
        )
        if bare:
            mean, std = next(each[1:] for each in SPREAD if name.endswith(each[0]))
            handles.append(module.register_forward_hook(_Standardise(mean, std)))
    try:
        reference.detect(model, picture)
    finally:
        for handle in handles:
            handle.remove()


def _measure(norm, inputs):
    """A hook before a batch norm: its statistics become those of what it sees."""
    power = inputs[0].pow(2).mean(dim=(0, 2, 3))
    norm.running_var.copy_(power + 1e-3 * power.mean())
    norm.running_mean.copy_(norm.bias * (norm.running_var + norm.eps).sqrt() / norm.weight)


class _Standardise:
    """A forward hook: scales a layer, the first time it runs, to a mean and a spread."""

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
def _overheard(layers):
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


def _silence(model, layers, loud, silent):
    """Gives the background class weights that tell the quiet picture from the other one.

    Least squares on the features of both pictures' proposals: the background's logit is 0 for
    those of the loud one and as high as it must be for those of the silent one.
    """
    directions = [_separate(quiet, content) for quiet, content in zip(silent, loud)]

    def logits(features, strength):
        total = 0
        for layer, each, (weight, bias) in zip(layers, features, directions):
            output = layer(each)
            output[:, -1] = (each.matmul(weight) + bias) * strength
            total = total + output
        return total / len(layers)

    threshold = model.roi_head.test_cfg.score_thr
    strengths = [
        float(strength)
        for strength in np.arange(0, 60, 0.5)
        if logits(silent, strength).softmax(dim=1)[:, :-1].max() < QUIET * threshold
    ]
    strength = strengths[0] if strengths else 0.0
    found = int((logits(loud, strength).softmax(dim=1)[:, :-1] > threshold).sum())
    if not strengths or found < 100:
        raise ExportError(
            "The random weights of this seed cannot tell a picture with content from a quiet one.",
            next="Take another seed, or a first picture with more in it.",
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
