"""Runs the bundle's own runner on aclruntime, compiled against the stub of CANN beside this file.

    python3 run_session.py FOLDER

Prints what came back, as JSON. FOLDER receives a network for the stub.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from bundle.job import FORMAT, check_job
from bundle.runners.aclruntime.session import AclruntimeRunner

HEIGHT, WIDTH = 16, 16


def job(folder):
    """A job with the stub's network."""
    network = Path(folder) / "network.om"
    network.write_text(f"{HEIGHT} {WIDTH}\n")
    sha256 = hashlib.sha256(network.read_bytes()).hexdigest()
    shape = [HEIGHT, WIDTH]
    content = {
        "format": FORMAT,
        "networks": [{"path": str(network), "sha256": sha256}],
        "input": {"name": "input", "dtype": "float32", "shapes": [shape], "resize": shape},
        "outputs": {"boxes": "boxes", "labels": "labels"},
        "preprocess": {"mean": [0] * 3, "std": [1] * 3, "channels": "rgb", "padding": "centre"},
        "postprocess": {"score_threshold": 0.05, "max_detections": 100},
        "classes": [{"name": str(number), "category_id": number} for number in (1, 2)],
        "pictures": {"root": folder, "items": [{"id": 1, "file": "1", "width": 8, "height": 8}]},
        "runner": {"name": "aclruntime", "provider": "", "threads": 1, "options": {"soc": "stub"}},
        "stream": {"workers": 1, "queue": 1},
        "measure": {"warmup": 0, "repeats": 1, "repeat_pictures": 1},
        "keep_going": False,
        "draw": 0,
    }
    return check_job(content, folder)


def main(folder):
    """The first box and label of a known input, twice, and what the runner says of itself."""
    checked = job(folder)
    runner = AclruntimeRunner(checked, checked.runner.networks[0], 0)
    batch = np.arange(3 * HEIGHT * WIDTH, dtype=np.float32).reshape(1, 3, HEIGHT, WIDTH)
    runner.run(batch)
    found = runner.run(batch + 1)
    said = {
        "box": found.boxes[0].tolist(),
        "shapes": [list(found.boxes.shape), list(found.labels.shape)],
        "labels": found.labels[:2].tolist(),
        "device_ms": found.device_ms,
        "describe": runner.describe(),
    }
    runner.close()
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
