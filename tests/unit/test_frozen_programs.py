"""The class for programs that feed a frozen network from Python finds what infer finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.errors import BundleError, PictureError
from bundle.frozen.detector import Detector
from bundle.job import Job
from bundle.runners import Outputs, Runner, open_runner
from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A frozen folder, with pictures beside it."""
    return frozen_folder.small(tmp_path)


def test_it_finds_what_infer_finds(folder: Path, tmp_path: Path) -> None:
    assert (
        frozen_folder.call(folder, "infer", tmp_path / "pictures", tmp_path / "out").returncode == 0
    )
    lines = map(json.loads, (tmp_path / "out" / "detections.jsonl").read_text().splitlines())
    detector = Detector(str(folder))
    for line in lines:
        found = detector.detect((tmp_path / "pictures" / line["file"]).read_bytes())
        assert found == {key: line[key] for key in ("width", "height", "sha256", "detections")}
        assert found["detections"]
    detector.close()


def test_a_picture_that_cannot_be_used_leaves_it_usable(folder: Path, tmp_path: Path) -> None:
    detector = Detector(str(folder))
    with pytest.raises(PictureError, match="not a JPEG"):
        detector.detect(b"no picture", "somewhere/7.png")
    assert detector.detect((tmp_path / "pictures" / "0.png").read_bytes())["detections"]
    detector.close()


class Elsewhere(Runner):
    """A network that did not run where it was asked to."""

    def __init__(self, job: Job) -> None:
        self._inner = open_runner(job)

    def run(self, batch: np.ndarray) -> Outputs:
        return self._inner.run(batch)

    def describe(self) -> dict[str, Any]:
        return {**self._inner.describe(), "simulated": True}

    def close(self) -> None:
        self._inner.close()


def test_another_device_is_refused(folder: Path, tmp_path: Path) -> None:
    detector = Detector(str(folder), Elsewhere)
    with pytest.raises(BundleError, match="not the device that the image was frozen on"):
        detector.detect((tmp_path / "pictures" / "0.png").read_bytes())
    detector.close()


def test_a_changed_network_is_refused(folder: Path) -> None:
    (network,) = (folder / "networks").iterdir()
    network.write_bytes(network.read_bytes() + b"x")
    with pytest.raises(BundleError, match="not the one in the job"):
        Detector(str(folder))


def test_a_simulated_image_may_run_on_its_stand_in(tmp_path: Path) -> None:
    labels = [{"name": "simulated", "reason": "It is a stand-in."}]
    folder = frozen_folder.freeze(tmp_path / "f", jobs.small(tmp_path), labels=labels)
    detector = Detector(str(folder), Elsewhere)
    assert detector.detect((tmp_path / "pictures" / "0.png").read_bytes())["detections"]
    detector.close()
