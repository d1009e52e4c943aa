"""The results of `infer` while they are made: a line of JSON per picture, in the list's order.

A run that was interrupted goes on after the last whole line. A line names the picture, the digest
of its file and what was found, so that it can be verified that the line is still about that file.
"""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, Iterator, List, Sequence

from bundle.errors import PictureError
from bundle.files import write_errors
from bundle.group import Inferred
from bundle.job import Job, Picture
from bundle.picture import SkippedPicture, digest, read_bytes
from bundle.postprocess import Detections, coco_rows

_PART = ".part"


def found_line(result: Inferred, detections: Detections, job: Job) -> Dict[str, Any]:
    """What was found in a picture. Boxes and scores are those of COCO's results."""
    return {
        "id": result.picture.id,
        "file": result.picture.file,
        "width": result.picture.width,
        "height": result.picture.height,
        "sha256": result.sha256,
        "detections": found_detections(detections, job),
    }


def found_detections(detections: Detections, job: Job) -> List[Dict[str, Any]]:
    """Detections as all commands write them: the numbers of COCO's results, and the name."""
    rows = coco_rows(detections, 0, job)
    return [
        {
            "name": job.class_names[label],
            "category_id": row["category_id"],
            "bbox": row["bbox"],
            "score": row["score"],
        }
        for row, label in zip(rows, detections.labels.tolist())
    ]


def skipped_line(result: SkippedPicture) -> Dict[str, Any]:
    """Why a picture was skipped."""
    return {
        "id": result.picture.id,
        "file": result.picture.file,
        "sha256": result.sha256,
        "skipped": result.reason,
    }


class Journal:
    """The file of lines. Until `finish`, its name ends in `.part`. Use it as a context manager.

    Args:
        path: The file.
        pictures: The pictures that it is about, in order.
        locate: The path of a picture's file.

    Attributes:
        done: How many pictures have a line.
        changed: The file of the first picture that is not the one that its line is about, if any.
            Its line and those after it are dropped.
        skipped: How many of the pictures were skipped.
        detections: How many detections there are.

    Raises:
        BundleError: The file cannot be written; so do all methods that write.
    """

    def __init__(
        self, path: str, pictures: Sequence[Picture], locate: Callable[[Picture], str]
    ) -> None:
        self.path = path
        self.done = self.skipped = self.detections = 0
        self.changed = ""
        self.finished = os.path.exists(path)
        if self.finished:
            self._count()
            return
        end = self._resume(pictures, locate)
        with write_errors(path):
            # Without a buffer, which would try again to write when it is closed.
            self._stream = open(path + _PART, "ab", buffering=0)  # noqa: SIM115
            self._stream.truncate(end)
            self._stream.seek(end)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if not self.finished:
            self._stream.close()

    def write(self, line: Dict[str, Any]) -> None:
        """Adds a picture's line. It reaches the operating system before this returns."""
        with write_errors(self.path + _PART):
            left = memoryview(json.dumps(line).encode("ascii") + b"\n")
            while left:
                left = left[self._stream.write(left) :]
        self._add(line)

    def finish(self) -> None:
        """Every picture has a line: the file gets its name."""
        if self.finished:
            return
        with write_errors(self.path):
            os.fsync(self._stream.fileno())
            self._stream.close()
            os.replace(self.path + _PART, self.path)
        self.finished = True

    def lines(self) -> Iterator[Dict[str, Any]]:
        """The lines of a finished journal."""
        with open(self.path, "rb") as stream:
            for line in stream:
                yield json.loads(line)

    def _count(self) -> None:
        for line in self.lines():
            self._add(line)

    def _add(self, line: Dict[str, Any]) -> None:
        self.done += 1
        self.skipped += "skipped" in line
        self.detections += len(line.get("detections", ()))

    def _resume(self, pictures: Sequence[Picture], locate: Callable[[Picture], str]) -> int:
        """Reads the lines of an interrupted run; returns where the next one belongs, in bytes."""
        end = 0
        try:
            stream = open(self.path + _PART, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return 0
        with stream:
            for picture, data in zip(pictures, stream):
                line = _parse(data)
                if line is None or (line.get("id"), line.get("file")) != (picture.id, picture.file):
                    break
                if _digest(locate(picture)) != line.get("sha256"):
                    self.changed = picture.file
                    break
                self._add(line)
                end += len(data)
        return end


def remove_journal(path: str) -> None:
    """Removes what an earlier run has written."""
    for one in (path, path + _PART):
        with write_errors(one):
            if os.path.lexists(one):
                os.remove(one)


def _parse(data: bytes) -> Any:
    """A line's content; None if it is torn, as the last one of a killed process may be."""
    try:
        line = json.loads(data)
    except ValueError:
        return None
    return line if data.endswith(b"\n") and isinstance(line, dict) else None


def _digest(path: str) -> str:
    try:
        return digest(read_bytes(path))
    except PictureError:
        return ""
