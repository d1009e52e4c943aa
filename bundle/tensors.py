"""Raw tensors through a runner: what a lowered graph is verified by."""

from __future__ import annotations

import json
import os
from typing import Any, Dict

import numpy as np

from bundle import events
from bundle.errors import BundleError
from bundle.files import make_folder, write_json
from bundle.job import FORMAT, Job, check_job
from bundle.postprocess import check_outputs
from bundle.runners import open_runner

# What a job has besides its network, and what has no meaning without pictures.
_WITHOUT_PICTURES: Dict[str, Any] = {
    "format": FORMAT,
    "preprocess": {
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "channels": "rgb",
        "padding": "centre",
    },
    "postprocess": {"score_threshold": 0.0, "max_detections": 1},
    "pictures": {"root": "", "items": [{"id": 0, "file": "tensor", "width": 1, "height": 1}]},
    "stream": {"workers": 1, "queue": 1},
    "measure": {"warmup": 0, "repeats": 1, "repeat_pictures": 1},
    "keep_going": False,
    "draw": 0,
}


def run_tensors(settings: str, inputs: str, out: str) -> None:
    """Runs a network on arrays in the order of their names.

    Args:
        settings: A JSON file with those parts of a job that concern the network: `networks`,
            `input`, `outputs`, `runner` and `classes`.
        inputs: A folder of arrays, NAME.npy, each an input of the network.
        out: A folder. It receives NAME.npz with `boxes` (n,5) and `labels` (n,) for every array
            (of several pictures at once `boxes_0`, `labels_0`, ...), and runner.json: what ran.

    Raises:
        BundleError: A file cannot be read, or the network cannot be loaded or run.
    """
    job = read_settings(settings)
    make_folder(out)
    names = sorted(name for name in os.listdir(inputs) if name.endswith(".npy"))
    runner = open_runner(job)
    try:
        progress = events.Progress("verify", len(names))
        for name in names:
            found = runner.run_all(np.ascontiguousarray(np.load(os.path.join(inputs, name))))
            arrays = {}
            for place, one in enumerate(found):
                check_outputs(one.boxes, one.labels, job, "tensor {}".format(name))
                suffix = "_{}".format(place) if len(found) > 1 else ""
                arrays.update({"boxes" + suffix: one.boxes, "labels" + suffix: one.labels})
            np.savez(os.path.join(out, "{}.npz".format(name[:-4])), **arrays)
            progress.step()
        write_json(os.path.join(out, "runner.json"), runner.describe())
    finally:
        runner.close()


def read_settings(path: str) -> Job:
    """A job of one network and no pictures; see `run_tensors`.

    Raises:
        BundleError: The file cannot be read, or lacks something.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        return check_job(dict(_WITHOUT_PICTURES, **data), os.path.dirname(os.path.abspath(path)))
    except (OSError, ValueError, TypeError) as failure:
        raise BundleError(
            "The settings of a network cannot be read: {}.".format(failure),
            path,
            "The orchestrator writes this file; run it again.",
        ) from None
