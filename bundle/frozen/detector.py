"""The detector of a frozen image for a program of yours: the bytes of a picture in, detections out.

For whoever feeds pictures from Python (examples/ray/detect.py does from Ray). What is found in a
picture is what `infer` finds in it, bit for bit.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from bundle.errors import BundleError
from bundle.frozen.golden import device_problems, first_lane
from bundle.frozen.journal import found_detections
from bundle.frozen.layout import read_frozen
from bundle.geometry import fit
from bundle.job import Job, Picture
from bundle.picture import decode, digest, sized
from bundle.postprocess import check_outputs, locate
from bundle.preprocess import Canvas, Preprocessor
from bundle.run import check_network_files
from bundle.runners import Runner, open_runner


class Detector:
    """A frozen network, loaded on one device. Use it from one thread.

    Args:
        folder: The frozen folder: /opt/cascadeport/frozen in an image.
        load: Loads the networks.

    Raises:
        BundleError: The folder is not one, was changed, or the network cannot be loaded.
    """

    def __init__(self, folder: str, load: Callable[[Job], Runner] = open_runner) -> None:
        self.frozen = read_frozen(folder)
        self._job = first_lane(self.frozen.with_pictures(folder, []))
        for network in self._job.runner.networks:
            check_network_files(network)
        self._runner = load(self._job)
        self._preprocessor = Preprocessor(self._job.preprocess)
        self._canvas = Canvas(self._job.preprocess)
        self._proven = False

    def detect(self, data: bytes, name: str = "picture") -> Dict[str, Any]:
        """Detects.

        Args:
            data: The content of a JPEG, PNG, BMP or WebP file.
            name: What errors call it.

        Returns:
            `width`, `height`, `sha256` and `detections`, as a line of `infer` has them.

        Raises:
            PictureError: The picture cannot be used.
            BundleError: The device failed, or is not the one that was frozen.
        """
        picture = Picture(0, name, 0, 0)
        image = decode(data, picture, name)
        picture = sized(picture, image)
        geometry = fit(picture, self._job.preprocess)
        self._preprocessor.prepare(image, geometry, self._canvas)
        boxes, labels = self._runner.run(self._canvas.array)[:2]
        self._prove()
        check_outputs(boxes, labels, self._job, name)
        found = locate(boxes, labels, geometry, self._job)
        return {
            "width": picture.width,
            "height": picture.height,
            "sha256": digest(data),
            "detections": found_detections(found, self._job),
        }

    def close(self) -> None:
        """Gives the device back."""
        self._runner.close()

    def _prove(self) -> None:
        """What ran the first picture must be what was asked for: never silently another device."""
        if self._proven:
            return
        problems = device_problems(self.frozen, self._runner)
        if problems:
            raise BundleError(
                "This is not the device that the image was frozen on.",
                self.frozen.folder,
                " ".join(problems),
            )
        self._proven = True
