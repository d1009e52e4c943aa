"""Checks that the export environment matches the locks and computes correctly.

    python images/export/selfcheck.py

Prints a line per check; exit code 0 if all pass, 1 if one fails.
"""

import importlib
import io
import os
import re
import sys
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
LOCKS = ("requirements.lock", "requirements-source.lock")
MODULES = ("cv2", "mmcv._ext", "mmdet.apis", "onnx", "onnxruntime", "pycocotools.mask", "torch")
#: Declared but not needed: a backport of what Python 3.7 includes (requirements.in), and
#: mmpycocotools' compiler.
NOT_NEEDED = ("cython", "dataclasses")
#: Sums of a few float32 products differ by this much at most.
CLOSE = 1e-4


class CheckError(Exception):
    """A check failed; the message says what was found and what was expected."""


def require(condition, message):
    if not condition:
        raise CheckError(message)


def pins(folder):
    """The locked packages: name -> version."""
    found = {}
    for name in LOCKS:
        with open(os.path.join(folder, name)) as file:
            found.update(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", file.read(), re.MULTILINE))
    return found


def python_is_37():
    require(sys.version_info[:2] == (3, 7), "Python {}.{}, not 3.7".format(*sys.version_info[:2]))
    return "{}.{}.{}".format(*sys.version_info[:3])


def versions_are_the_locked_ones():
    from importlib_metadata import PackageNotFoundError, version

    wrong = []
    expected = pins(HERE)
    for name in sorted(expected):
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "not installed"
        if installed != expected[name]:
            wrong.append("{}: {}, locked is {}".format(name, installed, expected[name]))
    require(not wrong, "; ".join(wrong))
    return "{} packages".format(len(expected))


def dependencies_are_met():
    """The declared dependencies of all packages are installed (`pip check` without pip)."""
    from importlib_metadata import PackageNotFoundError, requires, version
    from packaging.requirements import Requirement

    wrong = []
    for name in sorted(pins(HERE)):
        for need in map(Requirement, requires(name) or ()):
            if need.marker and not need.marker.evaluate({"extra": ""}):
                continue
            if need.name in NOT_NEEDED:
                continue
            try:
                installed = version(need.name)
            except PackageNotFoundError:
                wrong.append("{} needs {}".format(name, need))
                continue
            if not need.specifier.contains(installed, prereleases=True):
                wrong.append("{} needs {}, not {}".format(name, need, installed))
    require(not wrong, "; ".join(wrong))
    return "complete"


def modules_load():
    for name in MODULES:
        importlib.import_module(name)
    return ", ".join(MODULES)


def mmcv_operators_compute():
    """NMS and RoIAlign give known results."""
    import torch
    from mmcv.ops import nms, roi_align

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
    kept = nms(boxes, torch.tensor([0.8, 0.9, 0.7]), 0.5)[1].tolist()
    require(kept == [1, 2], "NMS keeps {}, not [1, 2]".format(kept))
    ramp = torch.arange(32.0).repeat(32, 1)[None, None]
    middle = roi_align(ramp, torch.tensor([[0.0, 8, 8, 22, 22]]), (7, 7), 1.0, 2, "avg", True)
    expected = torch.arange(8.5, 22, 2).repeat(7, 1)
    error = float((middle[0, 0] - expected).abs().max())
    require(error < CLOSE, "RoIAlign of a ramp is off by {:.2g}".format(error))
    return "nms, roi_align"


def deformable_convolution_computes():
    """mmcv's layer with the exporter's CPU kernel: without offsets, and shifted by a pixel."""
    import torch
    from exporter.deform import deform_conv2d, deform_conv_as
    from mmcv.ops import DeformConv2d

    torch.manual_seed(1)
    layer = DeformConv2d(3, 4, 3, padding=1)
    picture = torch.randn(1, 3, 12, 12)
    still = torch.zeros(1, 18, 12, 12)
    shifted = still.clone()
    shifted[:, 1::2] = 1.0
    with torch.no_grad(), deform_conv_as(deform_conv2d):
        plain = torch.nn.functional.conv2d(picture, layer.weight, padding=1)
        error = float((layer(picture, still) - plain).abs().max())
        require(error < CLOSE, "without offsets, off a convolution by {:.2g}".format(error))
        # Column 1 of the shifted result is column 2 of the plain one: y0, x0, y1, x1, ...
        error = float((layer(picture, shifted)[..., 1:-2] - plain[..., 2:-1]).abs().max())
        require(error < CLOSE, "with x offsets of a pixel, off by {:.2g}".format(error))
    return "30 of them are in the R101"


def export_runs():
    """A layer exported in opset 11 gives PyTorch's result in onnxruntime."""
    import onnxruntime
    import torch

    torch.manual_seed(1)
    layer, picture = torch.nn.Conv2d(3, 4, 3), torch.randn(1, 3, 8, 8)
    graph = io.BytesIO()
    torch.onnx.export(layer, (picture,), graph, opset_version=11, input_names=["input"])
    session = onnxruntime.InferenceSession(graph.getvalue(), providers=["CPUExecutionProvider"])
    answer = torch.from_numpy(session.run(None, {"input": picture.numpy()})[0])
    error = float((answer - layer(picture)).abs().max())
    require(error < CLOSE, "onnxruntime and PyTorch differ by {:.2g}".format(error))
    return "opset 11, onnxruntime {}".format(onnxruntime.__version__)


def detectors_can_be_built():
    from exporter import model

    built = []
    for name in sorted(os.listdir(os.path.join(HERE, "configs"))):
        if name.endswith(".py"):
            model.build(model.load_config(os.path.join(HERE, "configs", name)))
            built.append(name[:-3])
    return ", ".join(built)


CHECKS = (
    python_is_37,
    versions_are_the_locked_ones,
    dependencies_are_met,
    modules_load,
    mmcv_operators_compute,
    deformable_convolution_computes,
    export_runs,
    detectors_can_be_built,
)


def main():
    sys.path.insert(0, HERE)
    warnings.simplefilter("ignore")
    failed = 0
    for check in CHECKS:
        title = check.__name__.replace("_", " ")
        try:
            print("ok    {}: {}".format(title, check()), flush=True)
        except Exception as error:  # a broken library can raise almost anything
            failed += 1
            print("FAIL  {}: {}: {}".format(title, type(error).__name__, error), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
