"""python -m exporter: exports an mmdet checkpoint to a neutral graph and reference detections.

Writes into --out:
    neutral.onnx       opset 11 and domain `cascadeport` version 1 (docs/architecture.md)
    reference/NN.npz   a picture: input (1,3,H,W) float32, boxes (n,5) float32, labels (n) int64;
                       noiseI_boxes, noiseI_labels: the same when only rounding differs
    export.json        the config, checkpoint, shapes, digests and pictures of the export

On standard output: JSON lines ("note", "progress", "error", "done"). Exit 0, or 2 after an error.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import time


def emit(event, **fields):
    print(json.dumps(dict(event=event, **fields)), flush=True)


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="exporter", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", required=True, help="an mmdet 2.8.0 config (CascadeRCNN)")
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--checkpoint", help="weights; every key must match")
    weights.add_argument(
        "--random-weights", type=int, metavar="SEED", help="calibrated random weights"
    )
    parser.add_argument(
        "--sha256", default="", help="sha256 of the checkpoint, or its first digits"
    )
    parser.add_argument("--shape", type=int, nargs=2, default=(1216, 1216), metavar=("H", "W"))
    parser.add_argument(
        "--calibration-shape",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="shape for calibrating random weights, so that they are equal for all shapes",
    )
    parser.add_argument(
        "--also-shape",
        type=int,
        nargs=2,
        action="append",
        default=[],
        metavar=("H", "W"),
        help="another shape at which the pictures are references; the graph is not traced there",
    )
    parser.add_argument("--padding", choices=("centre", "corner"), default="centre")
    parser.add_argument(
        "--pictures",
        nargs="+",
        required=True,
        metavar="FILE",
        help="files or patterns; the first is traced, the others verify the graph",
    )
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument(
        "--noise-runs",
        type=int,
        default=3,
        metavar="N",
        help="extra passes of each picture that measure PyTorch's own noise",
    )
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch; 0: its default")
    return parser.parse_args(argv)


def run(options):
    """Runs the export; returns the content of export.json."""
    from . import FORMAT
    from . import model as models
    from .errors import ExportError

    models.check_shape(*options.shape)
    for other in [options.calibration_shape or options.shape] + options.also_shape:
        models.check_shape(*other)
    cfg = models.load_config(options.config)

    import mmcv
    import mmdet
    import numpy as np
    import torch

    from . import checkpoint, export, noise, pictures, randomise, reference, resources

    if options.threads:
        torch.set_num_threads(options.threads)
    shape, normalisation = tuple(options.shape), models.normalisation(cfg)
    files = pictures.find(options.pictures)
    if len(files) < 4:
        raise ExportError(
            "{} pictures are too few: one is traced, three others verify the graph.".format(
                len(files)
            ),
            next="Name at least four with --pictures, of different aspect ratios.",
        )
    digest = None
    if options.checkpoint:
        if not os.path.isfile(options.checkpoint):
            raise ExportError(
                "The checkpoint does not exist.",
                where=options.checkpoint,
                next="Download it first.",
            )
        digest = checkpoint.check_digest(options.checkpoint, options.sha256)

    started = time.time()
    model = models.build(cfg)
    weights = sum(parameter.numel() for parameter in model.parameters()) * 4
    shapes = [shape] + [tuple(other) for other in options.also_shape]
    total = (len(files) + 1) * len(shapes)
    largest = max(shapes, key=lambda one: one[0] * one[1])
    resources.check(weights, largest, total, options.out)
    traced = pictures.read(files[0], shape, normalisation, options.padding)
    weights_started = time.time()
    if options.checkpoint:
        checkpoint.load(model, options.checkpoint)
    else:
        emit("note", text="calibrating random weights, seed {}".format(options.random_weights))
        at = tuple(options.calibration_shape or shape)
        busy = pictures.read(files[0], at, normalisation, options.padding)
        quiet_one = next(pictures.quiet(at, normalisation))[1]
        randomise.randomise(model, options.random_weights, busy, quiet_one)
    weights_seconds = time.time() - weights_started

    os.makedirs(os.path.join(options.out, "reference"), exist_ok=True)
    neutral = os.path.join(options.out, "neutral.onnx")
    emit("note", text="tracing {} at {} x {}".format(os.path.basename(files[0]), *shape))
    export_started = time.time()
    boxes, labels, size = export.export(model, traced, neutral)
    export_seconds = time.time() - export_started

    listed = []

    def keep(name, picture, traced=False):
        found, classes = reference.detect(model, picture)
        file = "reference/{:02d}.npz".format(len(listed))
        arrays = {"input": picture, "boxes": found, "labels": classes}
        # Where nothing is found there is nothing to move.
        repeated = noise.runs(model, picture, options.noise_runs) if len(found) else []
        for index, (others, other_classes) in enumerate(repeated):
            arrays["noise{}_boxes".format(index)] = others
            arrays["noise{}_labels".format(index)] = other_classes
        np.savez(os.path.join(options.out, file), **arrays)
        entry = {"name": name, "file": file, "traced": traced, "detections": len(found)}
        listed.append(dict(entry, shape=list(picture.shape[2:])))
        emit("progress", phase="reference", done=len(listed), total=total)
        return found, classes

    def keep_others(shape, files):
        """The pictures of a shape besides the traced one, one of them without detections."""
        before = len(listed)
        for file in files:
            picture = pictures.read(file, shape, normalisation, options.padding)
            keep(os.path.basename(file), picture)
        quiet = list(pictures.quiet(shape, normalisation))
        while quiet and not any(entry["detections"] == 0 for entry in listed[before:]):
            name, picture = quiet.pop(0)
            found, _ = reference.detect(model, picture)
            if not len(found):
                keep(name, picture)
        if not any(entry["detections"] == 0 for entry in listed[before:]):
            raise ExportError(
                "The detector finds objects in every picture, even in those without content, so "
                "the case of no detections cannot be verified.",
                next="Add a picture in which it finds nothing to --pictures.",
            )

    expected, classes = keep(os.path.basename(files[0]), traced, traced=True)
    same = boxes.shape == expected.shape and np.array_equal(labels, classes)
    if not same or (len(boxes) and np.abs(boxes - expected).max() > 1e-2):
        raise ExportError(
            "The detections of the traced function differ from mmdet's on the traced picture.",
            where=files[0],
            next="This is a bug in the exporter: report it with the config.",
        )
    keep_others(shape, files[1:])
    for other in shapes[1:]:
        keep_others(other, files)

    with open(options.config, "rb") as file:
        config_digest = hashlib.sha256(file.read()).hexdigest()
    record = {
        "format": FORMAT,
        "model": {
            "config": os.path.basename(options.config),
            "config_sha256": config_digest,
            "checkpoint_sha256": digest,
            "random_weights_seed": options.random_weights,
            "parameters": weights // 4,
            "classes": int(model.roi_head.bbox_head[-1].num_classes),
        },
        "input": {
            "shape": [1, 3, shape[0], shape[1]],
            "mean": normalisation[0],
            "std": normalisation[1],
            "channels": "rgb" if normalisation[2] else "bgr",
            "padding": options.padding,
        },
        "neutral": {"file": "neutral.onnx", "bytes": size, "sha256": checkpoint.sha256_of(neutral)},
        "pictures": listed,
        "noise": noise.names(options.noise_runs),
        "cuts": {
            "score": float(model.roi_head.test_cfg.score_thr),
            "count": int(model.roi_head.test_cfg.max_per_img),
        },
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "mmdet": mmdet.__version__,
            "mmcv": mmcv.__version__,
            "threads": torch.get_num_threads(),
        },
        "seconds": {
            "weights": round(weights_seconds, 1),
            "export": round(export_seconds, 1),
            "total": round(time.time() - started, 1),
        },
        "peak_rss_bytes": resources.peak_memory(),
    }
    with open(os.path.join(options.out, "export.json"), "w") as file:
        json.dump(record, file, indent=2, sort_keys=True)
        file.write("\n")
    return record


def main(argv=None):
    options = arguments(argv)
    from .errors import ExportError

    try:
        record = run(options)
    except ExportError as error:
        emit("error", what=error.what, where=error.where, next=error.next)
        return 2
    except MemoryError:
        emit("error", what="Out of memory.", where="", next="Use a smaller --shape.")
        return 2
    except OSError as error:
        emit("error", what="{}".format(error.strerror), where=str(error.filename or ""), next="")
        return 2
    emit("done", seconds=record["seconds"]["total"], peak_rss_bytes=record["peak_rss_bytes"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
