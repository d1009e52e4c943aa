"""Detections of many pictures by Ray Data: an actor per device, each with a frozen network.

python detect.py FROZEN PICTURES OUT [ACTORS [RESOURCE]], such as: detect.py frozen in out 8 NPU
docs/ray.md has what nodes need.
"""

import json
import sys

import ray

from bundle.errors import PictureError
from bundle.frozen.detector import Detector


class Detect:
    """The actor: loads the network once, and looks at one batch of pictures after the other."""

    def __init__(self, frozen):
        self.detector = Detector(frozen)

    def __call__(self, batch):
        return {"path": batch["path"], "found": list(map(self.one, batch["path"], batch["bytes"]))}

    def one(self, path, data):
        try:
            return json.dumps(self.detector.detect(data, path))
        except PictureError as error:  # anything else ends the run
            return json.dumps({"skipped": error.what})


if __name__ == "__main__":
    frozen, pictures, out, actors, resource = sys.argv[1:] + ["1", "CPU"][len(sys.argv) - 4 :]
    usual = {"CPU": {"num_cpus": 1}, "GPU": {"num_gpus": 1}}
    ray.init()  # the cluster of RAY_ADDRESS, or this machine
    ray.data.read_binary_files(pictures, include_paths=True).map_batches(
        Detect,
        fn_constructor_args=[frozen],
        compute=ray.data.ActorPoolStrategy(size=int(actors)),
        batch_size=16,
        **usual.get(resource, {"resources": {resource: 1}}),
    ).write_json(out)
